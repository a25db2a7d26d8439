"""The facts about two runs that the causes in `compare.divergence.causes` rest on."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from math import isnan

from ..trace.run import NAMELESS, Batch, Evaluation, LossCall, Optimizer, Step
from .align import Match, first_number, match
from .difference import Comparison, Difference, same_batch
from .size import batches_apart, distance, tensors_apart, tolerance

WORD = 1 << 64  # sums of hashes of rows are taken modulo this
SAME_FORMULA = ("foreach", "fused", "capturable", "differentiable")
"""Options of optimizers that choose another way to calculate the same."""

GENERATORS = {
    "torch": "torch",
    "cuda": "torch on the GPU",
    "numpy": "NumPy",
    "python": "Python's random",
}
_UNUSED = ("623", "624")  # positions of a generator that has drawn nothing yet


class Evidence:
    """A difference, the records around it, and questions about them.

    Attributes:
        a, b, runs: the two runs.
        pairs: the steps of both, side by side.
        before: those before the difference, all of them the same.
        step, quantity, detail: those of the difference.
    """

    def __init__(self, comparison: Comparison, difference: Difference) -> None:
        self.comparison = comparison
        self.a, self.b = self.runs = comparison.a, comparison.b
        self.pairs = comparison.pairs
        self.before = comparison.pairs[: max(difference.step, 0)]
        self.step = difference.step
        self.quantity = difference.quantity
        self.detail = difference.detail

    @property
    def in_a_step(self) -> bool:
        """Tell whether both runs have the step of the difference."""
        return 0 <= self.step < len(self.pairs)

    @property
    def pair(self) -> tuple[Step, Step]:
        """Return the two steps that the difference is in, or right after."""
        return self.pairs[self.step]

    @property
    def optimizers(self) -> tuple[Optimizer, Optimizer]:
        """Return the optimizers of the two steps."""
        one, other = self.pair
        return self.a.optimizers[one.optimizer], self.b.optimizers[other.optimizer]

    @property
    def match(self) -> Match:
        """Return how the parameters of the two optimizers belong together."""
        return self.comparison.match(*self.pair)

    @property
    def steps(self) -> tuple[list[Step], list[Step]]:
        """Return the steps of each run that have a counterpart in the other."""
        return [one for one, _ in self.pairs], [other for _, other in self.pairs]

    @property
    def iteration(self) -> int:
        """Return how many steps this step's optimizer has made before, in run a."""
        roles = self.comparison.alignment.role_a
        role = roles[self.pair[0].optimizer]
        return sum(roles[one.optimizer] == role for one, _ in self.before)

    @property
    def batches(self) -> tuple[Batch, Batch] | None:
        """Return the first two batches of this step that differ."""
        if self.in_a_step:
            for one, other in zip(self.pair[0].batch, self.pair[1].batch, strict=False):
                if one and other and not same_batch(one, other):
                    return one, other
        return None

    @property
    def counts(self) -> tuple[int, int]:
        """Return how many batches each run has in this step."""
        return len(self.pair[0].batch), len(self.pair[1].batch)

    @property
    def calls(self) -> list[tuple[LossCall, LossCall]]:
        """Return the loss functions that both runs called in this step, in order."""
        return list(zip(self.pair[0].functions, self.pair[1].functions, strict=False))

    @property
    def calls_differ(self) -> bool:
        """Tell whether other loss functions were called, or with other options."""
        one, other = (
            [(call.name, call.options) for call in step.functions] for step in self.pair
        )
        return one != other

    @property
    def evaluations(self) -> tuple[list[Evaluation], list[Evaluation]]:
        """Return what was evaluated after this step."""
        return self.comparison.evaluations.get(self.step + 1, ([], []))

    @property
    def trainer(self) -> str:
        """Return the run that a Trainer or the like drives, if the other is by hand."""
        has = [bool(run.start.get("trainer")) for run in self.runs]
        return self.runs[has.index(True)].name if has[0] != has[1] else ""

    @property
    def compiled(self) -> list[bool]:
        """Tell of each run whether torch.compile made its model."""
        return [
            "OptimizedModule" in str(run.layers) or not run.layers for run in self.runs
        ]

    # The weights before the first step

    @property
    def _first_optimizers(self) -> tuple[Optimizer, Optimizer]:
        """Return the optimizers as they were before their first step."""
        one, other = (
            run.optimizers[first_number(run.optimizers, step.optimizer)]
            for run, step in zip(self.runs, self.pair, strict=True)
        )
        return one, other

    @cached_property
    def initial(self) -> list[str]:
        """Return the parameters whose values before this optimizer's first step differ.

        Empty where fingerprints of another kind were recorded.
        """
        if not self.in_a_step or not self.comparison.weights_comparable:
            return []
        one, other = self._first_optimizers
        return [
            one.names[i]
            for i, j in match(one, other).pairs
            if one.weights.hash_of(i) != other.weights.hash_of(j)
        ]

    @property
    def other_start(self) -> bool:
        """Tell whether weights differ before the first step by more than rounding."""
        if not self.initial or self.iteration:
            return False
        one, other = self._first_optimizers
        lost = any(name.startswith(NAMELESS) for name in (*one.names, *other.names))
        apart = tensors_apart(one.weights, other.weights, match(one, other))
        return apart > 1e-5 and not lost

    # The random generators

    def _is_used(self, name: str) -> bool:
        """Tell whether a generator's state changes in a run, or had before."""
        for run, steps in zip(self.runs, self.steps, strict=True):
            seen = [s.random for s in steps] + [x.random for x in run.evaluations]
            states = {random[name] for random in seen if name in random}
            if len(states) > 1:
                return True
            position = next(iter(states), ":624").partition(":")[2]
            if position and position not in _UNUSED:
                return True
        return False

    @property
    def generators_apart(self) -> list[str]:
        """Return the generators that were drawn from and differ before this step."""
        if not self.in_a_step:
            return []
        one, other = (step.random for step in self.pair)
        return [
            words
            for name, words in GENERATORS.items()
            if name in one and one[name] != other.get(name, one[name])
            if name in ("torch", "cuda") or self._is_used(name)
        ]

    @property
    def seeds(self) -> list[str]:
        """Return the generators that were given another seed, with the seeds."""
        found = []
        seeds = [run.start.get("seed") for run in self.runs]
        if seeds[0] != seeds[1]:
            found.append(f"torch.initial_seed() is {seeds[0]} against {seeds[1]}")
        first = [run.steps[0].random if run.steps else {} for run in self.runs]
        for name in ("numpy", "python"):
            if all(name in random for random in first) and self._is_used(name):
                # the text before the colon stays until 624 numbers were drawn
                keys = [random[name].partition(":")[0] for random in first]
                if keys[0] != keys[1]:
                    found.append(f"the generator of {GENERATORS[name]} differs")
        return found

    # The size of the difference

    @cached_property
    def size(self) -> float | None:
        """Return the relative size of the difference, None where it has none."""
        if self.quantity == "batch":
            return batches_apart(*self.batches) if self.batches else None
        if self.quantity == "evaluation":
            pairs = zip(*self.evaluations, strict=False)
            both = [(x.output, y.output) for x, y in pairs if x.output and y.output]
            is_output = self.detail.startswith("output")
            return max(distance(x.norm, y.norm) for x, y in both) if is_output else None
        if not self.in_a_step:
            return None
        one, other = self.pair
        if self.quantity == "loss" and len(one.loss) == len(other.loss):
            pairs_of = zip(one.loss, other.loss, strict=True)
            apart = [distance(x, y) for x, y in pairs_of]
            for x, y in zip(one.output, other.output, strict=False):
                apart += [distance(x.norm, y.norm)] if x and y else []
            return max(apart)
        if self.quantity == "gradient":
            return tensors_apart(one.gradient, other.gradient, self.match)
        if self.quantity == "weights":
            return tensors_apart(one.weights, other.weights, self.match)
        if self.quantity == "buffers" and one.buffers and other.buffers:
            how = match(one.buffers[0], other.buffers[0])
            return tensors_apart(one.buffers[1], other.buffers[1], how)
        return None

    @property
    def is_rounding(self) -> bool:
        """Tell whether the difference has the size of the last bits."""
        if self.size is None or isnan(self.size):
            return False
        if self.quantity == "batch" and self.batches:
            one, other = self.batches
            is_moved = one.rows == other.rows or one.dtype != other.dtype
            if is_moved or "int" in str(one.dtype):  # whole numbers are not rounded
                return False
        words = [e.precision for run in self.evaluations for e in run]
        if self.in_a_step:
            words += [text for step in self.pair for text in step.precision]
        limit = tolerance(words)
        if limit > 1e-4 and self.generators_apart:
            return False
        return self.size <= (10 if self.quantity == "gradient" else 1) * limit

    @property
    def machine(self) -> list[str]:
        """Return what is not the same about the machines and what rounds on them."""
        keys = ("device", "threads", "torch", "platform", "matmul", "deterministic")
        found = [
            f"{key} {self.a.start.get(key)} against {self.b.start.get(key)}"
            for key in keys
            if self.a.start.get(key) != self.b.start.get(key)
        ]
        if self.compiled[0] != self.compiled[1]:
            found.append("only one model is compiled")
        return found + [o for o in self.options() if o.startswith(SAME_FORMULA)]

    def options(self) -> Iterator[str]:
        """Yield in which options of the optimizers two parameters differ."""
        if not self.in_a_step:
            return
        one, other = self.optimizers
        said = set()
        for i, j in self.match.pairs:
            in_a = self.pair[0].settings[one.groups[i]]
            in_b = self.pair[1].settings[other.groups[j]]
            for key in in_a.keys() | in_b.keys():
                if in_a.get(key) != in_b.get(key) and key not in said:
                    said.add(key)
                    values = f"{in_a.get(key)} against {in_b.get(key)}"
                    yield f"{key} of {one.names[i]} is {values}"
