"""List the cases, or show one: python -m compare.clinic [NAME]."""

import argparse

from tabulate import tabulate

from compare.clinic import CASES, compare_runs
from compare.report import as_text


def main() -> None:
    """List the cases, or run one sick and mended."""
    parser = argparse.ArgumentParser(
        prog="python -m compare.clinic",
        description="Mistakes that make two training runs differ, to try out.",
    )
    parser.add_argument("name", nargs="?", help="a case; without one, list them all")
    name = parser.parse_args().name
    if name is None:
        rows = [[c.name, c.step, c.quantity, c.title] for c in CASES.values()]
        print(tabulate(rows, ["name", "step", "quantity", "mistake"]))
        return
    if name not in CASES:
        parser.exit(
            2, f"error: no case {name}; `python -m compare.clinic` lists them\n"
        )
    case = CASES[name]
    print(f"{case.title}." + (f" See {case.thread}." if case.thread else ""))
    print("\n--- With the mistake ---\n")
    print(as_text(compare_runs(case, sick=True)))
    print(f"\n--- Mended: {case.mend} ---\n")
    print(as_text(compare_runs(case, sick=False)))


if __name__ == "__main__":
    main()
