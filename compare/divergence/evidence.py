"""The facts about two runs that the causes in `compare.divergence.causes` rest on."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import accumulate
from typing import Any

from ..trace.run import NAMELESS, Batch, Evaluation, LossCall, Optimizer, Run, Step
from .align import Match, match, plain_name
from .difference import Comparison, Difference, same_batch
from .size import batches_apart, distance, tensors_apart, tolerance

_WORD = 1 << 64  # bags add up modulo this
_GENERATORS = {"torch": "torch", "cuda": "torch on the GPU"}
_GENERATORS |= {"numpy": "NumPy", "python": "Python's random"}
_UNUSED = ("623", "624")  # positions of a generator that has drawn nothing yet


class Evidence:
    """A difference, the records around it, and questions about them.

    `before` are the pairs of steps before the difference, all the same in both runs;
    `pair` is the pair of steps it is in, or after whose step an evaluation is.
    """

    def __init__(self, comparison: Comparison, difference: Difference) -> None:
        self.quantity = difference.quantity
        self.step = difference.step
        self.detail = difference.detail
        self.a, self.b = comparison.a, comparison.b
        self.runs = comparison.a, comparison.b
        self.pairs = comparison.pairs
        self.before = comparison.pairs[: max(difference.step, 0)]
        self.comparison = comparison

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
                if one and other and not same_batch(one, other):
                    return one, other
        return None

    @property
    def other_inputs(self) -> str:
        """Say that one model is given more tensors here, where it was not before."""
        if not self.pair:
            return ""
        own = [p for p in self.before if p[0].optimizer == self.pair[0].optimizer]
        one, other = map(_inputs, self.pair)
        if own and one != other and all(_inputs(x) == _inputs(y) for x, y in own):
            return f"{max(one, default=0)} against {max(other, default=0)} tensors"
        return ""

    @property
    def calls(self) -> list[tuple[LossCall, LossCall]]:
        """Return the loss functions that both runs called in this step, in order."""
        if not self.pair:
            return []
        return list(zip(self.pair[0].functions, self.pair[1].functions, strict=False))

    @property
    def calls_differ(self) -> bool:
        """Tell whether other loss functions were called, or with other options."""
        if not self.pair:
            return False
        one, other = (
            [(c.name, sorted(c.options.items())) for c in step.functions]
            for step in self.pair
        )
        return one != other

    @property
    def evaluations(self) -> tuple[list[Evaluation], list[Evaluation]]:
        """Return what was evaluated after this step."""
        return self.comparison.evaluations.get(self.step + 1, ([], []))

    @property
    def before_training(self) -> tuple[list[Evaluation], list[Evaluation]]:
        """Return what was evaluated before the first step."""
        return self.comparison.evaluations.get(0, ([], []))

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
        return self.comparison.match(self.pair) if self.pair else None

    @property
    def iteration(self) -> int:
        """Return how many steps this step's optimizer has made before, in run a."""
        if not self.pair:
            return -1
        number = self.pair[0].optimizer
        return sum(one.optimizer == number for one, _ in self.before)

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

    @cached_property
    def initial(self) -> list[str]:
        """Return the parameters whose values before this optimizer's first step differ.

        Empty where fingerprints of another kind were recorded.
        """
        if not self.optimizers or not self.match or not self.comparison.comparable:
            return []
        one, other = self.optimizers
        return [
            one.names[i]
            for i, j in self.match.pairs
            if one.weights.part(i) != other.weights.part(j)
        ]

    @property
    def other_start(self) -> bool:
        """Tell whether weights differ before the first step by more than rounding."""
        lost = str([o.names for o in self.optimizers or ()]).count(NAMELESS)
        apart = self.initial and self.first_step and self._initial_apart() > 1e-5
        return bool(apart) and not lost

    @property
    def first_step(self) -> bool:
        """Tell whether this is the first step of its optimizer."""
        return self.iteration == 0

    def _initial_apart(self) -> float:
        if not self.optimizers or not self.match:
            return 0.0
        one, other = self.optimizers
        return tensors_apart(one.weights, other.weights, self.match)

    # The random generators

    def moved(self, name: str) -> bool:
        """Tell whether a generator's state changes in a run, or had before."""
        for run, steps in self.sides:
            seen = [s.random for s in steps] + [x.random for x in run.evaluations]
            states = {random[name] for random in seen if name in random}
            if len(states) > 1:
                return True
            used = next(iter(states), ":624").partition(":")[2]
            if used and used not in _UNUSED:
                return True
        return False

    @property
    def apart(self) -> list[str]:
        """Return the generators that were drawn from and differ before this step."""
        if not self.pair:
            return []
        one, other = (step.random for step in self.pair)
        return [
            words
            for name, words in _GENERATORS.items()
            if name in one and one.get(name) != other.get(name, one[name])
            if name in ("torch", "cuda") or self.moved(name)
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
            if not all(name in random for random in first) or not self.moved(name):
                continue
            keys = [random[name].partition(":") for random in first]
            if keys[0][0] != keys[1][0]:
                found.append(f"the generator of {_GENERATORS[name]} differs")
        return found

    # The order of the data

    @cached_property
    def epoch(self) -> int | None:
        """Return the number of steps of an epoch, where it can be told."""
        evaluated = [done for done in self.comparison.evaluations if done > 0]
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
        training = self.comparison.in_training
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

    def repeats_from(self, steps: list[Step], start: int) -> bool:
        """Tell whether a run's batches from this step on are those of its beginning."""
        hashes = [[b and b.hash for b in step.batch] for step in steps]
        length = min(start, len(hashes) - start)
        return length > 0 and hashes[:length] == hashes[start : start + length]

    def sums(self, steps: list[Step], start: int) -> set[int]:
        """Return the bags of the two epochs that this step divides."""
        parts = steps[:start], steps[start : 2 * start]
        return {sum(map(_bag, part)) % _WORD for part in parts}

    # The size of the difference

    @cached_property
    def tolerance(self) -> float:
        """Return the relative size up to which a difference can be rounding."""
        steps = self.pair or ()
        words = [text for step in steps for text in step.precision]
        words += [e.precision for side in self.evaluations for e in side]
        return tolerance(words)

    @cached_property
    def size(self) -> float | None:
        """Return the relative size of the difference, None where it has none."""
        if self.quantity == "batch" and self.batches:
            return batches_apart(*self.batches)
        if self.quantity == "evaluation" and self.detail.startswith("output"):
            pairs = zip(*self.evaluations, strict=False)
            both = ((x.output, y.output) for x, y in pairs if x.output and y.output)
            return max(distance(x.norm, y.norm) for x, y in both)
        if not self.pair or not self.match:
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
    def rounding(self) -> bool:
        """Tell whether the difference has the size of the last bits."""
        if self.size is None or self.size != self.size:
            return False
        if self.quantity == "batch" and self.batches and "int" in str(self.batches):
            return False  # whole numbers are not rounded
        if self.tolerance > 1e-4 and self.apart:
            return False
        wider = 10 if self.quantity == "gradient" else 1
        return self.size <= wider * self.tolerance

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
        found += [text for text in self.options() if text.startswith(_SAME_FORMULA)]
        return found

    def options(self) -> Iterator[str]:
        """Yield in which options of the optimizers two parameters differ."""
        if not self.optimizers or not self.pair or not self.match:
            return
        one, other = self.optimizers
        said = set()
        for i, j in self.match.pairs:
            settings = [
                step.settings[optimizer.groups[place]]
                for step, optimizer, place in zip(
                    self.pair, (one, other), (i, j), strict=True
                )
            ]
            for key in settings[0].keys() | settings[1].keys():
                values = [options.get(key) for options in settings]
                if values[0] != values[1] and key not in said:
                    said.add(key)
                    yield f"{key} of {one.names[i]} is {values[0]} against {values[1]}"

    def tied(self) -> list[set[tuple[str, ...]]]:
        """Return of each run which names stand for one tensor, by their last parts."""
        return [
            {
                tuple(sorted(plain_name(n) for n in names))
                for o in r.optimizers
                for names in o.tied
            }
            for r in self.runs
        ]

    def ratios(self) -> list[float]:
        """Return by what factor each gradient differs, where there is one in both."""
        if not self.pair or not self.match:
            return []
        one, other = (step.gradient.norms for step in self.pair)
        both: list[tuple[Any, Any]] = [(one[i], other[j]) for i, j in self.match.pairs]
        total = max(self.pair[0].gradient.norm, self.pair[1].gradient.norm)
        return [x / y for x, y in both if min(x, y) > 1e-4 * total]


# options that choose another way to calculate the same
_SAME_FORMULA = ("foreach", "fused", "capturable", "differentiable")


def _inputs(step: Step) -> list[int]:
    """Return how many tensors each forward of a step was given."""
    return [len(batch.hash) for batch in step.batch if batch]


def _bag(step: Step) -> int:
    return sum(batch.bag[0] for batch in step.batch if batch)
