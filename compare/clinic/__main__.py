"""Show a training that went wrong, and its mend.

python -m compare.clinic         lists the cases
python -m compare.clinic NAME    runs one: healthy and sick, then mended
"""

from __future__ import annotations

import argparse
import sys

from tabulate import tabulate

from compare.clinic import CASES
from compare.clinic.case import Case, record
from compare.divergence.difference import compare_runs
from compare.divergence.report import as_text


def main(argv: list[str]) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m compare.clinic",
        description="Trainings with a planted mistake. Without a name, list them.",
    )
    parser.add_argument("name", nargs="?", help="the case to run")
    name = parser.parse_args(argv).name
    if name is None:
        rows = [(c.name, c.title, c.step, c.quantity) for c in CASES.values()]
        print(tabulate(rows, headers=("name", "mistake", "step", "seen in")))
        return 0
    if name not in CASES:
        parser.exit(2, f"error: no case {name}; python -m compare.clinic lists them\n")
    return show(CASES[name])


def show(case: Case) -> int:
    """Print what is found in a case and in its mend; return 0 if it is as planned."""
    healthy = record("healthy", case.healthy)
    sick = record("sick", lambda: case.train(True))
    mended = record("mended", lambda: case.train(False))
    print(case.title)
    if case.thread:
        print(case.thread)
    diagnosis = compare_runs(healthy, sick)
    print(f"\n{as_text(diagnosis)}\n\nThe mend: {case.mend}\n")
    again = compare_runs(healthy, mended)
    print(as_text(again))
    found = diagnosis.first
    as_planned = found and (found.step, found.quantity) == (case.step, case.quantity)
    return 0 if as_planned and again.first is None else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
