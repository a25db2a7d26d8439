"""The evidence the rules look at, and the list they stand in."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from compare.differences import Difference
from compare.remarks import rng
from compare.runs import Match, Pair, Run
from compare.tracefile import Record

# Where a cause is explained.
DIFFER = 'README, "Why two runs can differ"'
TRAIN = "lesson train: plain_pytorch/train.py beside lightning/train.py"

# How strongly the evidence speaks for a cause.
CERTAIN, LIKELY, POSSIBLE, UNLIKELY = 4.0, 3.0, 2.0, 1.0


@dataclass
class Clues:
    """What is known at the first differing step, and helpers the rules share.

    `a` and `b` are the records of that step, or of the last common one where one run
    only goes on longer.
    """

    pair: Pair
    step: int
    differences: list[Difference]
    a: Record = field(init=False)
    b: Record = field(init=False)
    match: Match | None = field(init=False)

    def __post_init__(self) -> None:
        last = min(self.step, len(self.pair) - 1)
        self.a, self.b = self.pair.a.step(last), self.pair.b.step(last)
        self.match = self.pair.match(last)

    @property
    def first(self) -> Difference:
        """The first quantity that differs."""
        return self.differences[0]

    def starts_with(self, *quantities: str) -> bool:
        """Whether the first quantity that differs is one of these."""
        return self.first.quantity in quantities

    def header(self, key: str) -> tuple[object, object]:
        """Give an entry of both headers, or of the settings in them."""
        one, other = (
            {**run.trace.header, **run.trace.header["settings"]}[key]
            for run in (self.pair.a, self.pair.b)
        )
        return one, other

    def ratio(self) -> float:
        """Give how many times the smaller loss, or gradient norm, fits the larger."""
        key = self.first.quantity
        if key == "loss" and len(self.a["loss"]) == len(self.b["loss"]) > 0:
            values = [float(r["loss"][0]) for r in (self.a, self.b)]
        elif key == "gradient":
            values = [float(r["gradient"]["norm"]) for r in (self.a, self.b)]
        else:
            return math.nan
        low, high = sorted(map(abs, values))
        return high / low if low else math.inf

    def tiny(self) -> bool:
        """Whether the difference is of the size of rounding."""
        return self.first.size is not None and self.first.size < 1e-4

    def random_differs(self) -> bool:
        """Whether torch's random state differed as the step's batch came in."""
        a, b = rng(self.a), rng(self.b)
        return a.get("torch") != b.get("torch")

    def only_one_evaluated(self) -> bool:
        """Whether only one run evaluated somewhere up to this step."""
        a, b = self.pair.a.evals, self.pair.b.evals
        return any(bool(a[k]) != bool(b[k]) for k in range(1, self.step + 1))

    def epoch_began(self) -> bool:
        """Whether an epoch seems to begin here: a run has evaluated, or starts over."""
        k = self.step
        return k > 0 and bool(
            self.pair.a.evals[k] or self.pair.b.evals[k] or self.repeats()
        )

    def repeats(self) -> bool:
        """Whether one run takes the same batches as at its start, the other not."""
        if self.step == 0:
            return False
        return self._returns(self.step) == 1

    def shuffles_once(self) -> bool:
        """Whether one run comes back to its first batch, the other never."""
        return any(self._returns(k) == 1 for k in range(1, min(len(self.pair), 5000)))

    def _returns(self, k: int) -> int:
        """Count the runs in which step k has the batches of step 0."""
        return sum(inputs(run.step(k)) == inputs(run.step(0)) for run in self.runs())

    def runs(self) -> tuple[Run, Run]:
        """Give both runs."""
        return self.pair.a, self.pair.b

    def same_samples(self) -> bool:
        """Whether both saw the same data, in whatever order: the squares add up."""
        sums = []
        for run in self.runs():
            steps = (run.step(k) for k in range(min(len(self.pair), 5000)))
            sums.append(sum(float(x["norm"]) ** 2 for s in steps for x in s["batches"]))
        return math.isclose(*sums, rel_tol=1e-4)


def inputs(step: Record) -> list[list[str]]:
    """Give the fingerprints of a step's batches."""
    return [batch["inputs"] for batch in step["batches"]]


@dataclass(frozen=True)
class Cause:
    """A cause as the user reads it; its score is 0 where the evidence rules it out."""

    name: str
    title: str
    confirm: str
    see: str
    score: Callable[[Clues], float]


CAUSES: list[Cause] = []


def cause(
    name: str, title: str, confirm: str, see: str = DIFFER
) -> Callable[[Callable[[Clues], float]], Callable[[Clues], float]]:
    """Add a rule to the list of causes."""

    def add(score: Callable[[Clues], float]) -> Callable[[Clues], float]:
        CAUSES.append(Cause(name, title, confirm, see, score))
        return score

    return add
