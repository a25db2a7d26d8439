"""The cost of a lesson: the lines that it adds to train.py, by hand and in Lightning.

python -m compare.lessons.costs             # the table of all lessons
python -m compare.lessons.costs clipping    # both diffs of one lesson
"""

import argparse
import ast
import os
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from tabulate import tabulate

ROOT = Path(__file__).parents[2]
HALVES = {"plain_pytorch": "by hand", "lightning": "in Lightning"}
DIFF = ["git", "diff", "--no-index", "--no-ext-diff", "-w", "-U1"]
# The user's own settings could change the diff, and so the counts.
ENVIRONMENT = {
    **os.environ,
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
}


class Cost(NamedTuple):
    """Lines added to train.py, lines removed from it, and the places of both."""

    added: int
    removed: int
    places: int


def lessons(root: Path = ROOT) -> list[str]:
    """Return the names of all lessons, in alphabetical order."""
    return sorted(path.stem for path in (root / "plain_pytorch").glob("[!_]*.py"))


def split_docstring(path: Path) -> tuple[str, str]:
    """Return a file's text up to the end of its docstring, and the rest."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines(keepends=True)
    end = ast.parse(text).body[0].end_lineno
    return "".join(lines[:end]), "".join(lines[end:])


def parent(path: Path) -> Path | None:
    """Return the train.py that a lesson extends: that of its half, by default.

    The lesson's docstring may name another, "plain_pytorch/train.py". If it says "No
    variant of train", there is none.
    """
    docstring, _ = split_docstring(path)
    if path.stem == "train" or "No variant of train" in docstring:
        return None
    named = re.search(r"\w+/train\.py", docstring)
    return path.parents[1] / named[0] if named else path.with_name("train.py")


def diff(path: Path, *options: str) -> str:
    """Return git's diff from train.py to a lesson that extends it, otherwise "".

    Docstrings, which differ in every lesson, are left out: both sides get the lesson's.
    """
    base = parent(path)
    if base is None:
        return ""
    docstring, lesson = split_docstring(path)
    _, train = split_docstring(base)
    names = [str(file.relative_to(path.parents[1])) for file in (base, path)]
    with TemporaryDirectory() as folder:
        for name, text in zip(names, (train, lesson), strict=True):
            copy = Path(folder, name)
            copy.parent.mkdir(exist_ok=True)
            copy.write_text(docstring + text, encoding="utf-8")
        command = [*DIFF, *options, *names]
        return subprocess.run(
            command, cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True
        ).stdout


def cost(path: Path) -> Cost:
    """Count the lines and places in a lesson's diff."""
    _, *places = re.split(r"^@@ .*\n", diff(path), flags=re.MULTILINE)
    signs = [line[0] for line in "".join(places).splitlines()]
    return Cost(signs.count("+"), signs.count("-"), len(places))


def describe(path: Path) -> str:
    """Return a lesson's cost in words, or its length if it extends no train.py."""
    if parent(path) is None:
        return f"{len(path.read_text(encoding='utf-8').splitlines())} lines in all"
    added, _, places = cost(path)
    return f"{added} line{'s' * (added != 1)} in {places} place{'s' * (places != 1)}"


def by_cost(root: Path = ROOT) -> list[str]:
    """Return the names of all lessons: train, then the shortest first."""

    def key(lesson: str) -> tuple[bool, bool, Cost, str]:
        plain = root / "plain_pytorch" / f"{lesson}.py"
        return lesson != "train", parent(plain) is None, cost(plain), lesson

    return sorted(lessons(root), key=key)


def idea(lesson: str, root: Path = ROOT) -> str:
    """Return a lesson's idea, of the title of its page: `# NAME: the idea`."""
    page = root / "compare" / "lessons" / f"{lesson}.md"
    title = page.read_text(encoding="utf-8").splitlines()[0]
    return title.split(": ", 1)[1]


def table(root: Path = ROOT) -> str:
    """Return the costs of all lessons as a Markdown table."""
    rows = [
        [
            f"[{lesson}](compare/lessons/{lesson}.md)",
            idea(lesson, root),
            *(describe(root / half / f"{lesson}.py") for half in HALVES),
        ]
        for lesson in by_cost(root)
    ]
    headers = ["lesson", "idea", *HALVES.values()]
    return tabulate(rows, headers, tablefmt="github")


def main() -> None:
    """Print the table, or both diffs of one lesson."""
    parser = argparse.ArgumentParser(prog="python -m compare.lessons.costs")
    parser.add_argument("lesson", nargs="?", choices=lessons(), metavar="LESSON")
    lesson = parser.parse_args().lesson
    if lesson is None:
        print(table())
        return
    color = "--color=always" if sys.stdout.isatty() else "--color=never"
    for half, words in HALVES.items():
        path = ROOT / half / f"{lesson}.py"
        print(f"{words}: {describe(path)}\n{diff(path, color)}")


if __name__ == "__main__":
    main()
