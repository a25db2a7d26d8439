"""The README and the other pages: commands that work, links, current tables."""

import importlib
import os
import re
import shlex
import signal
import subprocess
import sys
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

import pytest
import torch
from PIL import Image

from shared.options.checks import option_name
from shared.runtime.command import config_class, parse_config
from tests.processes import ROOT, run_forked
from tests.repo.test_makefile import make

PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "compare" / "lessons").glob("*.md")),
    *sorted((ROOT / "compare").glob("*/README.md")),
]
PAGE = pytest.mark.parametrize(
    "page", [pytest.param(page, id=str(page.relative_to(ROOT))) for page in PAGES]
)
SHELL = (
    "python3 -m venv",
    "source .venv/bin/activate",
    "pip install",
    "sbatch",
    "git diff",
)
LESSON_TARGETS = {"plain": "plain_pytorch", "lightning": "lightning", "compare": ""}
EVERYWHERE = {"dataset": "mnist-5k", "accelerator": "cpu"}
UNLESS_GIVEN = {
    "max_epochs": "2",
    "limit_train_batches": "12",
    "limit_val_batches": "3",
    "limit_test_batches": "2",
    "limit_predict_batches": "2",
}
TINY_KEYS = ["--trainer.max_epochs=1", "--data.dataset=mnist-5k"]


class Command(NamedTuple):
    """A command for a lesson, with its options; without a half it runs both."""

    half: str
    lesson: str
    options: list[str]
    devices: str

    def config(self) -> Any:
        """Return the dataclass of the options; None if the lesson reads its own."""
        half = self.half or "plain_pytorch"
        main = importlib.import_module(f"{half}.{self.lesson}").main
        return config_class(main) if "config" in get_type_hints(main) else None

    def short(self) -> list[str]:
        """Return the options, and others that make the run a short one."""
        config = self.config()
        if config is None:
            return [*self.options, *TINY_KEYS]
        names = {option.name for option in fields(config)}
        first, last = (
            [f"{option_name(name)}={values[name]}" for name in values if name in names]
            for values in (UNLESS_GIVEN, EVERYWHERE)
        )
        if "--overfit-batches" in self.options:  # a limit itself, with no other
            first = []
        return [*first, *self.options, *last]


def commands(page: Path) -> list[str]:
    """Return the commands of a page, in order."""
    blocks = re.findall(r"```console\n(.*?)```", page.read_text(), re.DOTALL)
    return re.findall(r"^\$ (.+?)(?:\s+#.*)?$", "\n".join(blocks), re.MULTILINE)


def of_a_lesson(command: str) -> Command | None:
    """Return what a command runs, or None if that is no lesson."""
    module = re.search(r"-m (plain_pytorch|lightning)\.(\w+)(.*)", command)
    if module:
        half, lesson, options = module.groups()
        return Command(half, lesson, shlex.split(options), "")
    words = shlex.split(command)
    if words[0] != "make" or words[1] not in LESSON_TARGETS:
        return None
    given = dict(word.split("=", 1) for word in words[2:])
    options = shlex.split(given.get("ARGS", ""))
    lesson, devices = given.get("LESSON", "train"), given.get("DEVICES", "")
    return Command(LESSON_TARGETS[words[1]], lesson, options, devices)


def needs_gpu(stderr: str) -> bool:
    """Return whether a command failed only because this machine has no GPU."""
    return "GPU" in stderr and not torch.cuda.is_available()


@PAGE
def test_every_command_is_known(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for text in commands(page):
        command = of_a_lesson(text)
        if command:
            for half in ("plain_pytorch", "lightning"):
                assert (ROOT / half / f"{command.lesson}.py").exists(), text
            config = command.config()
            if config and "--help" not in command.options:
                try:
                    parse_config(config, text, None, command.options)
                except SystemExit:
                    assert needs_gpu(capsys.readouterr().err), text
        elif text.startswith("make "):
            target = text.split()[1]
            assert f"\n{target}: " in (ROOT / "Makefile").read_text(), text
        elif text.startswith(SHELL):
            for file in re.findall(r"\w+/\w+\.(?:py|sbatch)", text):
                assert (ROOT / file).exists(), text
        elif tool := re.match(r"python path/to/this/(compare/\w+) ", text):
            assert (ROOT / tool[1] / "__main__.py").exists(), text
        else:
            (module,) = re.findall(r"^(?:\.venv/bin/)?python -m (\S+)", text)
            assert find_spec(module), text


@PAGE
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text())
    for link in links:
        assert link.startswith("https:") or (page.parent / link).exists(), link


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_bytes()) <= 10_000


def test_generated_parts_are_current() -> None:
    """When this fails: make readme."""
    pages = map(str, {*PAGES, *ROOT.glob("README.*.md")})
    check = [sys.executable, "-m", "cogapp", "--check", "--diff", *pages]
    process = subprocess.run(check, cwd=ROOT, capture_output=True, text=True)
    assert process.returncode == 0, process.stdout + process.stderr


def test_commands_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "$ not this\n```console\n$ make plain   # by hand\nits output\n"
        "$ make compare LESSON=x DEVICES=2 ARGS='--a 1 --b=\"c d\"'\n"
        "$ python -m lightning.x --a 1\n$ make diff\n```\n"
    )
    found = [of_a_lesson(command) for command in commands(page)]
    assert found == [
        Command("plain_pytorch", "train", [], ""),
        Command("", "x", ["--a", "1", "--b=c d"], "2"),
        Command("lightning", "x", ["--a", "1"], ""),
        None,
    ]


LOOP = """
import sys
import torch

assert sys.argv[1:] == ["--its-arguments"]
torch.manual_seed(0)
model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(5):
    loss = model(torch.randn(8, 4)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
NOTEBOOK = '{"nbformat": 4, "metadata": {}, "cells": []}'


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Return a copy of the project, with the user's files that the pages mention."""
    folder = tmp_path / "clone"
    folder.mkdir()
    for path in ROOT.iterdir():
        if path.name not in (".git", "output", "data"):
            (folder / path.name).symlink_to(path)
    for name in ("my_digit.png", "my_digit.jpg"):
        Image.new("L", (40, 60), 255).save(folder / name)
    (folder / "my_loop.py").write_text(LOOP)
    (folder / "my_port.py").write_text(LOOP)
    (folder / "my_project").mkdir()
    (folder / "my_project" / "train.py").write_text(LOOP)
    (folder / "my_tutorial.md").write_text("No code.\n")
    (folder / "my_notebook.ipynb").write_text(NOTEBOOK)
    return folder


def newest_checkpoint(folder: Path) -> Path:
    """Return the checkpoint that FILE stands for in a command."""
    return max(folder.glob("output/**/*.ckpt"), key=lambda path: path.stat().st_mtime)


def run_lesson(command: Command, cwd: Path) -> tuple[int, str, str]:
    """Run a lesson's command, made short.

    Where one process is enough, it is forked; otherwise `make` starts them.
    """
    options = command.short()
    if is_one_process(command):
        half, lesson = command.half, command.lesson
        if half:
            return run_forked(f"{half}.{lesson}", *options, cwd=cwd)
        return run_forked("tests.compare_here", lesson, *options, cwd=cwd)
    (target,) = (t for t, half in LESSON_TARGETS.items() if half == command.half)
    settings = [f"LESSON={command.lesson}", f"ARGS={shlex.join(options)}"]
    if command.devices:
        settings.append(f"DEVICES={command.devices}")
    process = make(cwd, target, *settings)
    return process.returncode, process.stdout, process.stderr


def is_one_process(command: Command) -> bool:
    """Return whether a command can run in one process."""
    config = command.config()
    if config is None:  # then python -m compare cannot run it in its own process
        return bool(command.half)
    if command.devices:
        return False
    try:
        parsed = parse_config(config, "", None, command.short())
    except SystemExit:  # --help, or an error that the command itself has to show
        return True
    return (parsed if command.half else parsed.for_comparison()).world_size == 1


@pytest.mark.slow
@PAGE
def test_the_commands_of_a_page_work(
    page: Path, clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only `make` itself is left out: other tests run its targets."""
    monkeypatch.chdir(clone)  # options look for the checkpoints of earlier runs
    train = Command("plain_pytorch", "train", [], "")
    assert run_lesson(train, clone)[0] == 0  # what evaluate, for one, begins with
    for text in commands(page):
        command = of_a_lesson(text.replace("FILE", str(newest_checkpoint(clone))))
        if command and "torchrun" not in text:  # make DEVICES=2 starts it, too
            status, stdout, stderr = run_lesson(command, clone)
            assert status == 0 or needs_gpu(stderr), f"{text}\n{stderr}"
            if not command.half:
                assert stdout.endswith("same\n"), f"{text}\n{stdout}"
        elif re.match(r"make (diff|added|legacy)", text):
            process = make(clone, *shlex.split(text)[1:])
            assert process.returncode == 0, f"{text}\n{process.stderr}"
        elif text.startswith((".venv/bin/python ", "python path/to/this/")):
            arguments = shlex.split(text.replace("path/to/this/", ""))[1:]
            process = subprocess.run(
                [sys.executable, *arguments], cwd=clone, capture_output=True, text=True
            )
            assert process.returncode == 0, f"{text}\n{process.stderr}"


@pytest.mark.slow
def test_make_runs_lessons(clone: Path) -> None:
    arguments = f"ARGS={shlex.join(Command('', 'train', [], '').short())}"
    assert make(clone, "plain", arguments).returncode == 0
    assert make(clone, "lightning", arguments).returncode == 0
    assert make(clone, "compare", arguments).stdout.endswith("same\n")


@pytest.mark.slow
def test_make_tensorboard_serves(tmp_path: Path) -> None:
    process = subprocess.Popen(
        ["make", "tensorboard", f"ARGS=--port=0 --logdir={tmp_path}"],
        cwd=ROOT,
        env={name: os.environ[name] for name in os.environ if "MAKE" not in name},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    try:
        assert any(re.search(r"http://\S+:\d+/", line) for line in process.stderr)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
