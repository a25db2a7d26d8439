"""The facts about two runs that the rules in `compare.divergence.causes` use."""

from __future__ import annotations

from functools import cached_property
from itertools import accumulate

from compare.divergence.align import Match
from compare.divergence.difference import Comparison, Difference
from compare.trace.run import Batch, Evaluation, Optimizer, Run, Step

_WORD = 1 << 64  # bags add up modulo this


class Evidence:
    """A difference, the records around it, and questions about them.

    `before` are the pairs of steps before the difference, all the same in both runs;
    `pair` is the pair of steps it is in, or after whose step an evaluation is.
    """

    def __init__(self, comparison: Comparison, difference: Difference) -> None:
        self.quantity = difference.quantity
        self.step = difference.step
        self.a, self.b = comparison.a, comparison.b
        self.pairs = comparison.pairs
        self.before = comparison.pairs[: max(difference.step, 0)]
        self._comparison = comparison

    @property
    def pair(self) -> tuple[Step, Step] | None:
        """Return the two steps, or None where not both runs have this step."""
        return self.pairs[self.step] if 0 <= self.step < len(self.pairs) else None

    @property
    def sides(self) -> tuple[tuple[Run, list[Step]], tuple[Run, list[Step]]]:
        """Return both runs with their paired steps, to say something of each."""
        return (
            (self.a, [one for one, _ in self.pairs]),
            (self.b, [other for _, other in self.pairs]),
        )

    @property
    def batches(self) -> tuple[Batch, Batch] | None:
        """Return the first two batches of this step that differ."""
        if self.pair:
            for one, other in zip(self.pair[0].batch, self.pair[1].batch, strict=False):
                if one != other:
                    return one, other
        return None

    @property
    def evaluations(self) -> tuple[list[Evaluation], list[Evaluation]]:
        """Return what was evaluated after this step."""
        return self._comparison.evaluations.get(self.step + 1, ([], []))

    @property
    def before_training(self) -> tuple[list[Evaluation], list[Evaluation]]:
        """Return what was evaluated before the first step."""
        return self._comparison.evaluations.get(0, ([], []))

    @property
    def optimizers(self) -> tuple[Optimizer, Optimizer] | None:
        """Return the optimizers of this step as they were at their first."""
        if not self.pair:
            return None
        one, other = self.pair
        return self.a.optimizers[one.optimizer], self.b.optimizers[other.optimizer]

    @property
    def match(self) -> Match | None:
        """Return how the parameters of this step's optimizers belong together."""
        return self._comparison.match(self.pair) if self.pair else None

    @property
    def same_initial_weights(self) -> bool:
        """Tell whether the weights before this optimizer's first step are the same."""
        if not self.optimizers or not self.match:
            return True
        one, other = (optimizer.weights for optimizer in self.optimizers)
        return all(one.part(i) == other.part(j) for i, j in self.match.pairs)

    @property
    def same_random(self) -> bool:
        """Tell whether the generators stood alike when this step's forward began."""
        if not self.pair:
            return True
        one, other = self.pair[0].random, self.pair[1].random
        return all(one[key] == other[key] for key in ("torch", "cuda") if key in one)

    @cached_property
    def epoch(self) -> int | None:
        """Return the number of steps of an epoch, where it can be told."""
        evaluated = [done for done in self._comparison.evaluations if done > 0]
        if evaluated:
            return min(evaluated)
        total = [0, *accumulate(_bag(step) for _, step in self.pairs)]
        lengths = range(1, len(self.pairs) // 2 + 1)
        twice = (n for n in lengths if (2 * total[n] - total[2 * n]) % _WORD == 0)
        return next(twice, None)

    @property
    def at_epoch_start(self) -> bool:
        """Tell whether this step is the first of an epoch, but not of the run."""
        return self.step > 0 and bool(self.epoch) and self.step % (self.epoch or 1) == 0

    @property
    def new_epoch_in_one_run(self) -> bool:
        """Tell whether the next batches differ for no reason that is random."""
        training = self._comparison.in_training
        if not training or (training.step, training.quantity) != (
            self.step + 1,
            "batch",
        ):
            return False
        one, other = self.pairs[training.step]
        return one.random == other.random

    @property
    def same_samples(self) -> bool:
        """Tell whether from here on both runs see the same samples in another order."""
        difference = 0
        for one, other in self.pairs[max(self.step, 0) :]:
            difference = (difference + _bag(one) - _bag(other)) % _WORD
            if difference == 0:
                return True
        return False

    def repeats_its_order(self, steps: list[Step]) -> bool:
        """Tell whether a run's second epoch has the batches of its first, in order."""
        first, second = (
            [[batch.hash for batch in step.batch] for step in steps[start:end]]
            for start, end in ((0, self.epoch), (self.epoch, 2 * (self.epoch or 0)))
        )
        return first == second


def _bag(step: Step) -> int:
    return sum(batch.bag[0] for batch in step.batch)
