"""Find the first step where two traced runs differ, and say why that may be.

    python -m compare.divergence a.trace b.trace

Exit status: 0 the runs are the same, 1 they differ, 2 a file cannot be used. `--json`
prints the same for machines.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

from compare.causes import Cause, Clues, likely_causes
from compare.differences import RESULTS, Difference, differences, relative
from compare.remarks import remarks
from compare.report import as_json, as_text
from compare.runs import Pair, pair
from compare.tracefile import Trace, TraceError, read

LATER = (0, 1, 2, 5, 10, 20, 50, 100, 1000, 10_000, 100_000)


@dataclass
class Divergence:
    """Where two runs part.

    `step` counts optimizer steps from 0. `differences` are all that differ there, in
    order, so that the first of them is the one to look at; `growth` are pairs of a step
    and the relative difference of the loss in it; `causes` the likely ones first.
    """

    step: int
    differences: list[Difference]
    growth: list[tuple[int, float]]
    causes: list[Cause]

    @property
    def quantity(self) -> str:
        """The first quantity that differs."""
        return self.differences[0].quantity


@dataclass
class Comparison:
    """What came of comparing two runs; `divergence` is None where they are the same."""

    pair: Pair
    divergence: Divergence | None
    remarks: list[str]


def compare(a: Trace, b: Trace) -> Comparison:
    """Compare two recorded runs bit for bit.

    Raises:
        TraceError: one of them has no optimizer step.
    """
    for trace in (a, b):
        if not any(line.startswith('{"step"') for line in trace.lines):
            raise TraceError(
                f"{trace.source} has no optimizer step; where training runs in"
                " processes of its own, start it by torchrun"
            )
    runs = pair(a, b)
    harmless: dict[str, list[int]] = {}
    for k in range(len(runs)):
        found = differences(runs, k)
        if any(difference.quantity in RESULTS for difference in found):
            break
        for difference in found:
            harmless.setdefault(difference.quantity, []).append(k)
    else:
        k, found = len(runs), _length(runs)
    notes = remarks(runs, harmless, k)
    if not found:
        return Comparison(runs, None, notes)
    causes = likely_causes(Clues(runs, k, found))
    return Comparison(runs, Divergence(k, found, _growth(runs, k), causes), notes)


def _length(runs: Pair) -> list[Difference]:
    """Say that one run goes on, unless the other was cut off."""
    a, b = len(runs.a.steps), len(runs.b.steps)
    shorter = runs.a if a < b else runs.b
    if a == b or shorter.trace.cut:
        return []
    return [Difference("length", f"{a} steps", f"{b} steps", relative(a, b))]


def _growth(runs: Pair, k: int) -> list[tuple[int, float]]:
    steps = {k + offset for offset in LATER if k + offset < len(runs)}
    points = []
    for i in sorted(steps | {len(runs) - 1}) if steps else []:
        a, b = runs.a.step(i)["loss"], runs.b.step(i)["loss"]
        if a and b:
            points.append((i, relative(float(a[0]), float(b[0]))))
    return points


def main() -> None:
    """Compare two trace files and print where they part."""
    parser = argparse.ArgumentParser(
        prog="python -m compare.divergence",
        description="Find the first step where two traced runs differ.",
        epilog="Exit status: 0 the same, 1 different, 2 a file cannot be used.",
    )
    parser.add_argument("a", type=Path, help="a trace made by python -m compare.trace")
    parser.add_argument("b", type=Path, help="the trace to compare it with")
    parser.add_argument("--json", action="store_true", help="print JSON for machines")
    args = parser.parse_args()
    try:
        comparison = compare(read(args.a), read(args.b))
    except TraceError as error:
        parser.exit(2, f"error: {error}\n")
    print(as_json(comparison) if args.json else as_text(comparison))
    sys.exit(0 if comparison.divergence is None else 1)


if __name__ == "__main__":
    main()
