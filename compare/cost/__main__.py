"""Count what each lesson costs by hand and in Lightning, from the syntax tree.

    python -m compare.cost                    a row for each lesson
    python -m compare.cost --tags checkpoint  which lines answer which, by tag
    python -m compare.cost --plot cost.png    the table as a bar chart

Counted are statements, as the top of compare/cost/source.py defines them. "added" are
those that train.py of the same half has not, "borrowed" those behind the names that a
lesson imports from another one. What "stay", "move" and "go" mean, and what they cannot
know, stands at the top of compare/cost/answers.py.
"""

import argparse
import json
import signal
import sys
from pathlib import Path

from compare.cost.costs import measure
from compare.cost.report import as_record, as_table, as_tags
from compare.readme import write_part
from shared.errors import UsageError, UserError
from shared.signals import exit_on_signals


def main(argv: list[str]) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m compare.cost",
        description="Count what each lesson costs by hand and in Lightning.",
        allow_abbrev=False,
    )
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument("--tags", metavar="LESSON", help="show which lines answer which")
    ways.add_argument("--plot", metavar="FILE.png", type=Path, help="draw a bar chart")
    ways.add_argument("--json", action="store_true", help="print all, for programs")
    ways.add_argument("--readme", action="store_true", help="renew README.md's table")
    options = parser.parse_args(argv)
    try:
        run(options)
    except (UserError, OSError) as error:
        status = error.exit_status if isinstance(error, UserError) else 1
        parser.exit(status, f"error: {error}\n")


def run(options: argparse.Namespace) -> None:
    """Count, and print or write what is asked for.

    Raises:
        UserError: there is something for the user to mend.
    """
    costs = measure()
    if options.tags is not None:
        if options.tags not in costs:
            names = ", ".join(costs)
            raise UsageError(f"no lesson {options.tags}: try one of {names}")
        print(as_tags(costs[options.tags]))
    elif options.plot:
        if options.plot.suffix != ".png":
            raise UsageError(f"--plot {options.plot}: name a file that ends in .png")
        from compare.cost.chart import write_chart  # imports torch: three seconds

        write_chart(costs, options.plot)
        print(options.plot)
    elif options.json:
        records = {lesson: as_record(cost) for lesson, cost in costs.items()}
        print(json.dumps(records, indent=2))
    elif options.readme:
        write_part("cost", as_table(costs, "github"))
    else:
        print(as_table(costs))


if __name__ == "__main__":
    exit_on_signals()
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # into `head`, for instance
    main(sys.argv[1:])
