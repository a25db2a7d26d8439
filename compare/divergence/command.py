"""Find the first step where two recorded runs differ, and say why.

    python -m compare.divergence a.trace b.trace

prints the first step and the first quantity in it that are not the same bit for bit,
whether the difference grows, and the likely causes. Exit status: 0 when the runs are
the same, 1 when they differ, 2 when a file cannot be used.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from compare.divergence.difference import compare_runs
from compare.divergence.report import as_record, as_text
from compare.trace.run import UnusableTraceError, read_trace


def main(argv: list[str]) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m compare.divergence",
        description="Find the first step where two recorded runs differ, and say why.",
    )
    parser.add_argument("a", type=Path, help="a file of compare.trace")
    parser.add_argument("b", type=Path, help="another one")
    parser.add_argument("--json", action="store_true", help="print JSON, for machines")
    args = parser.parse_args(argv)
    try:
        comparison = compare_runs(read_trace(args.a), read_trace(args.b))
    except UnusableTraceError as error:
        parser.exit(2, f"error: {error}\n")
    if args.json:
        print(json.dumps(as_record(comparison), indent=2))
    else:
        print(as_text(comparison))
    return 1 if comparison.first else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
