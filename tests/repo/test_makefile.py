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
    assert re.findall(r"^  ([a-z-]+) ", text, re.M) == phony.split()


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
@pytest.mark.parametrize("uv", [True, False], ids=["uv", "pip"])
def test_the_venv_is_made_once_and_again_when_the_list_changes(
    copy: Path, uv: bool
) -> None:
    python = copy / "a python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    environment = {} if uv else {"PIP_NO_INDEX": "1", "PATH": path_without_uv(copy)}

    def setup(*arguments: str) -> bool:
        process = make(copy, "setup", f"PYTHON={python}", *arguments, **environment)
        assert process.returncode == 0, process.stderr
        return "Installing" in process.stdout

    assert setup()
    assert (copy / ".venv" / "bin" / "uv").exists() == (uv and not shutil.which("uv"))
    assert not setup()
    (copy / "others.txt").write_text("# other packages\n")
    assert setup("REQUIREMENTS=others.txt")
    assert setup()  # back to the first list


def path_without_uv(folder: Path) -> str:
    """Return a PATH with what make needs and no uv."""
    tools = folder / "tools"
    tools.mkdir()
    for name in ("sh", "make", "rm", "cp", "echo", "tr", "git"):
        (tools / name).symlink_to(str(shutil.which(name)))
    return str(tools)


@pytest.mark.slow
def test_after_a_failed_install_the_next_make_tries_again(copy: Path) -> None:
    (copy / "requirements.txt").write_text("no-such-package==1.2.3\n")
    for _ in range(2):
        process = make(copy, "plain", f"PYTHON={sys.executable}", PIP_NO_INDEX="1")
        assert process.returncode == 2
        assert "No matching distribution found for no-such-package" in process.stderr


def test_an_old_python_is_refused(copy: Path) -> None:
    (copy / "old-python").write_text("#!/bin/sh\nexit 1\n")
    (copy / "old-python").chmod(0o755)
    for python in ("./old-python", "./no-python"):
        process = make(copy, "setup", f"PYTHON={python}")
        assert process.returncode == 2
        assert "error: Python 3.11 or newer is needed" in process.stderr
        assert not (copy / ".venv").exists()
