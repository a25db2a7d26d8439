"""Find the first step, and in it the first quantity, in which two runs differ."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from compare.divergence.align import Alignment, Match, align
from compare.divergence.quantities import Parted, in_evaluation, in_step
from compare.trace.run import Evaluation, Run, Step

Pair = tuple[Step, Step]
Batches = tuple[list[Evaluation], list[Evaluation]]


@dataclass(frozen=True)
class Difference:
    """The place at which two runs differ, and the quantity.

    Steps are counted from 0. An evaluation belongs to the step before it: to -1 when
    there is none. quantity is one of batch, mode, loss, gradient, learning rate,
    weights, evaluation, optimizer, length.
    """

    step: int
    quantity: str
    a: str
    b: str
    detail: str = ""


@dataclass
class Comparison:
    """Two runs, step beside step, and where they part."""

    a: Run
    b: Run
    alignment: Alignment
    pairs: list[Pair]
    evaluations: dict[int, Batches]  # by the number of steps done before
    first: Difference | None = None
    in_training: Difference | None = None  # the first that is no evaluation

    def match(self, pair: Pair) -> Match:
        """Return how the parameters of two steps belong together."""
        return self.alignment.matches[pair[0].optimizer, pair[1].optimizer]


def compare_runs(a: Run, b: Run) -> Comparison:
    """Compare two runs bit for bit; what only one of them has is a difference too."""
    alignment = align(a, b)
    steps: list[list[Step]] = []
    evaluations: dict[int, Batches] = {}
    for side, (run, lane) in enumerate(((a, alignment.lane_a), (b, alignment.lane_b))):
        # leave out the steps of an optimizer that the other run has not
        kept = [i for i, s in enumerate(run.steps) if lane[s.optimizer] is not None]
        steps.append([run.steps[i] for i in kept])
        for evaluation in run.evaluations:
            done = bisect_left(kept, evaluation.after)
            evaluations.setdefault(done, ([], []))[side].append(evaluation)
    pairs = list(zip(*steps, strict=False))
    result = Comparison(a, b, alignment, pairs, evaluations)
    found = list(_differences(result, len(steps[0]), len(steps[1])))
    result.first = found[0] if found else None
    training = (d for d in found if d.quantity != "evaluation")
    result.in_training = next(training, None)
    return result


def _differences(
    result: Comparison, count_a: int, count_b: int
) -> Iterator[Difference]:
    """Yield differences in the order of time, up to the first in training."""
    for number, pair in enumerate(result.pairs):
        if number:
            yield from _in_evaluations(result, number)
        if parted := _in_pair(result, pair):
            yield Difference(number, *parted)
            return
    last = len(result.pairs)
    if count_a != count_b:
        yield Difference(last, "length", f"{count_a} steps", f"{count_b} steps")
        return
    if last or not (result.a.steps or result.b.steps):  # or nothing but evaluation
        yield from _in_evaluations(result, last)
    lanes = result.alignment.lane_a, result.alignment.lane_b
    if None in lanes[0] or None in lanes[1]:
        text_a, text_b = _missing(result.a, lanes[0]), _missing(result.b, lanes[1])
        yield Difference(last, "optimizer", text_a, text_b, "only one run has it")


def _in_pair(result: Comparison, pair: Pair) -> Parted | None:
    a, b = pair
    one, other = result.a.optimizers[a.optimizer], result.b.optimizers[b.optimizer]
    lanes = result.alignment.lane_a[a.optimizer], result.alignment.lane_b[b.optimizer]
    if lanes[0] != lanes[1]:
        return "optimizer", one.name, other.name, "whose turn it is"
    return in_step(a, b, result.match(pair), (one, other))


def _in_evaluations(result: Comparison, done: int) -> Iterator[Difference]:
    """Yield the first difference among the batches evaluated after so many steps."""
    a, b = result.evaluations.get(done, ([], []))
    for index, (one, other) in enumerate(zip(a, b, strict=False)):
        if parted := in_evaluation(one, other):
            what, text_a, text_b = parted
            where = f"{what} of batch {index} of {len(a)}"
            yield Difference(done - 1, "evaluation", text_a, text_b, where)
            return
    if len(a) != len(b):
        text_a, text_b = f"{len(a)} batches", f"{len(b)} batches"
        yield Difference(done - 1, "evaluation", text_a, text_b, "how many")


def _missing(run: Run, lanes: Sequence[int | None]) -> str:
    names = [o.name for o, n in zip(run.optimizers, lanes, strict=True) if n is None]
    return ", ".join(names) or "-"
