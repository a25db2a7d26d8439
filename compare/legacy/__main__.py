"""Find what is old in code for Lightning, and say what to write now.

python -m compare.legacy tutorial.md notebook.ipynb folder
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from compare.legacy.blocks import SUFFIXES
from compare.legacy.rules import EFFECTS, Finding, UnusableFileError
from compare.legacy.search import search

SKIPPED = {"__pycache__", "node_modules", "site-packages"}
HEADINGS = {
    "ignored": "Ignored silently",
    "warns": "Warns",
    "raises": "Raises an error",
}


def main(argv: list[str]) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m compare.legacy",
        description="Find what Lightning has removed, renamed or ignores silently"
        " in Python files, notebooks and the code blocks of Markdown files. Nothing of"
        " them is run.",
    )
    parser.add_argument("paths", nargs="*", metavar="FILE|FOLDER", type=Path)
    parser.add_argument("--json", action="store_true", help="print a list of objects")
    options = parser.parse_args(argv)
    if not options.paths:
        parser.error("name a file or a folder")
    findings: list[Finding] = []
    unusable = False
    for path in files(options.paths):
        try:
            findings += search(path)
        except (UnusableFileError, OSError) as error:
            why = f"{path}: {error.strerror}" if isinstance(error, OSError) else error
            print(f"error: {why}", file=sys.stderr)
            unusable = True
    findings.sort(key=lambda f: EFFECTS.index(f.effect))
    if options.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    elif findings or not unusable:
        show(findings)
    return 2 if unusable else bool(findings)


def files(paths: list[Path]) -> Iterator[Path]:
    """Yield each file once: those named, and those of a known kind in folders."""
    seen = set()
    for path in paths:
        inside: list[Path] = [path]
        if path.is_dir():
            inside = []
            for folder, folders, names in os.walk(path):
                folders[:] = sorted(
                    name
                    for name in folders
                    if not name.startswith(".")
                    and name not in SKIPPED
                    and not Path(folder, name, "pyvenv.cfg").exists()
                )
                inside += [Path(folder, name) for name in sorted(names)]
            inside = [file for file in inside if file.suffix.lower() in SUFFIXES]
        for file in inside:
            if file.resolve() not in seen:
                seen.add(file.resolve())
                yield file


def show(findings: list[Finding]) -> None:
    """Print findings for people, what is ignored silently first."""
    for effect in EFFECTS:
        group = [finding for finding in findings if finding.effect == effect]
        if group:
            print(f"{HEADINGS[effect]}:")
        for f in group:
            since = f", since {f.since}" if f.since else ""
            print(f"{f.file}:{f.line}: {f.found}{since}\n    now: {f.now}")
    print(f"{len(findings)} found" if findings else "nothing found")


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it quietly
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # into `head`, for instance
    sys.exit(main(sys.argv[1:]))
