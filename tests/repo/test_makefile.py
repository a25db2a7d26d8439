"""The Makefile: its help, its diff, and how it makes .venv."""

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def make(
    folder: Path, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run make in a folder, with the Python of these tests as its python3."""
    # A make that runs the tests hands its own options and LESSON down.
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "LESSON", "ARGS", "DEVICES")
    }
    return subprocess.run(
        ["make", *arguments],
        cwd=folder,
        env={**inherited, **environment},
        capture_output=True,
        text=True,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return a copy of what make needs, no git clone, in a folder with a space."""
    folder = tmp_path / "a copy"
    for half in ("plain_pytorch", "lightning"):
        shutil.copytree(ROOT / half, folder / half)
    shutil.copy(ROOT / "Makefile", folder)
    (folder / "requirements.txt").write_text("")
    return folder


def test_help_is_the_default_and_names_every_target() -> None:
    text = make(ROOT).stdout
    makefile = (ROOT / "Makefile").read_text().replace("\\\n", "")
    (phony,) = re.findall(r"^\.PHONY: (.+)$", makefile, re.M)
    assert re.findall(r"^  ([a-z-]+) ", text, re.M) == phony.split()[:-1]  # FORCE


def test_every_module_that_make_runs_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text()
    modules = re.findall(r"\$\(RUN\) ([\w.]+\w)(?=\s)", makefile)
    assert len(modules) > 10
    for module in modules:
        assert find_spec(module), module


def test_diff_works_outside_a_clone_and_without_a_venv(copy: Path) -> None:
    process = make(copy, "diff")
    assert process.returncode == 0
    assert "-class Model(AutoEncoder):" in process.stdout
    assert "+class Model(AutoEncoder, pl.LightningModule):" in process.stdout
    hunks = process.stdout.split("\n@@ ")[1:]
    assert len(hunks) > 5  # an idea each
    assert any("# Device." in hunk and "model.cuda()" in hunk for hunk in hunks)
    assert "\033" not in process.stdout  # no colors but on a terminal
    assert not (copy / ".venv").exists()


@pytest.mark.parametrize("target", ["plain", "lightning", "diff", "compare"])
def test_a_lesson_that_is_not_there(copy: Path, target: str) -> None:
    process = make(copy, target, "LESSON=typo")
    assert process.returncode == 2
    assert process.stderr.count("\n") == 1
    assert "no lesson typo: README.md lists them all" in process.stderr


def test_devices_that_are_not_a_number(copy: Path) -> None:
    process = make(copy, "plain", "LESSON=distributed", "DEVICES=two")
    assert process.returncode == 2
    assert process.stderr.count("\n") == 1
    assert "DEVICES=two is not a number" in process.stderr


@pytest.mark.slow
def test_the_venv_is_made_once_and_again_when_requirements_change(copy: Path) -> None:
    spaced = copy / "a python"
    spaced.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    spaced.chmod(0o755)
    python = f"PYTHON={spaced}"
    assert "Installing" in make(copy, "setup", python).stdout
    assert (copy / ".venv" / "bin" / "python").exists()
    assert "Installing" not in make(copy, "setup", python).stdout
    os.utime(copy / "requirements.txt")  # a date is no change, as after git checkout
    assert "Installing" not in make(copy, "setup", python).stdout
    (copy / "others.txt").write_text("# other packages\n")
    assert "Installing" in make(copy, "setup", python, "REQUIREMENTS=others.txt").stdout


def test_two_at_once_do_not_install_into_one_folder(copy: Path) -> None:
    (copy / ".venv.lock").mkdir()
    process = make(copy, "setup", f"PYTHON={sys.executable}")
    assert process.returncode == 2
    assert process.stderr.startswith("error: another make installs the packages here")
    assert not (copy / ".venv").exists()


@pytest.mark.slow
def test_a_failed_install_leaves_no_venv(copy: Path) -> None:
    (copy / "requirements.txt").write_text("no-such-package==1.2.3\n")
    process = make(copy, "plain", f"PYTHON={sys.executable}", PIP_NO_INDEX="1")
    assert process.returncode == 2
    (line,) = [line for line in process.stderr.splitlines() if "error: " in line]
    assert "the packages could not be installed: ERROR: No matching" in line
    assert not (copy / ".venv").exists()
    assert not (copy / ".venv.lock").exists()


@pytest.mark.parametrize(
    ("script", "said"),
    [("#!/bin/sh\necho Python 3.9.2; exit 1\n", "3.9.2"), ("", "missing")],
)
def test_an_old_or_missing_python_is_named(copy: Path, script: str, said: str) -> None:
    python = copy / "old-python"
    if script:
        python.write_text(script)
        python.chmod(0o755)
    process = make(copy, "setup", "PYTHON=./old-python")
    assert process.returncode == 2
    assert process.stderr.startswith("error: Python 3.11 or newer is needed")
    assert said in process.stderr.splitlines()[0]
    assert not (copy / ".venv").exists()
