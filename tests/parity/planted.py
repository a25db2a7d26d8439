"""Plant a mistake in a lesson, to prove that its tests notice it."""

import importlib
from pathlib import Path
from types import ModuleType

import pytest


def plant(
    monkeypatch: pytest.MonkeyPatch, half: str, lesson: str, right: str, wrong: str
) -> None:
    """Let a half's main run with some of the file's text replaced.

    Args:
        monkeypatch: undoes it at the end of the test.
        half: the package of the lesson.
        lesson: the name of the file.
        right: a piece of text that stands in the file once.
        wrong: the text in its place.
    """
    module = importlib.import_module(f"{half}.{lesson}")
    path = Path(str(module.__file__))
    source = path.read_text()
    assert source.count(right) == 1, f"{right!r} stands not once in {path}"
    changed = ModuleType(module.__name__)
    exec(compile(source.replace(right, wrong), path, "exec"), vars(changed))
    monkeypatch.setattr(module, "main", vars(changed)["main"])
