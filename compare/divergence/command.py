"""Find the first step where two recorded runs differ, and say why.

    python path/to/compare/divergence a.trace b.trace

prints the first step and the first quantity in it that are not the same bit for bit,
whether the difference grows, and the likely causes. Exit status: 0 when the runs are
the same, 1 when they differ, 2 when nothing can be compared.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
from pathlib import Path

from ..trace.run import UnusableTraceError, read_trace
from .difference import compare_runs
from .report import as_record, as_text, causes_as_text


def main(argv: list[str]) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="compare/divergence",
        usage="%(prog)s [--json] A B\n       %(prog)s --causes",
        description="Find the first step where two recorded runs differ, and say why.",
        epilog="exit status: 0 if the runs are the same, 1 if they differ, 2 if nothing"
        " can be compared",
    )
    add = parser.add_argument
    add("a", metavar="A", type=Path, nargs="?", help="a file that compare/trace wrote")
    add("b", metavar="B", type=Path, nargs="?", help="the file of the other run")
    add("--json", action="store_true", help="print JSON, for programs")
    add("--causes", action="store_true", help="list the known causes")
    args = parser.parse_args(argv)
    if not args.causes and args.b is None:
        parser.error("give the two files to compare")
    try:
        if args.causes:
            print(causes_as_text())
            return 0
        paths = args.a, args.b
        names = [path.name for path in paths]
        if names[0] == names[1]:  # in two folders
            names = [str(path) for path in paths]
        a, b = map(read_trace, paths, names)
        comparison = compare_runs(a, b)
        if args.json:
            print(json.dumps(as_record(comparison), indent=2))
        else:
            print(as_text(comparison))
        sys.stdout.flush()
    except UnusableTraceError as error:
        parser.exit(2, f"error: {error}\n")
    except BrokenPipeError:
        # whatever is still in the buffer must not fail again as Python ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        parser.exit(2, "error: nobody reads the answer\n")
    except Exception:  # status 1 means "different", and that is not known
        traceback.print_exc()
        return 2
    return 1 if comparison.first else 0
