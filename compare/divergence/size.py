"""The size of a difference: that of the last bits or not, and what becomes of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..trace.run import Batch, Step, Tensors
from .align import Match
from .difference import Comparison, Difference

# by how much sums of numbers of this kind may differ when they are rounded otherwise
_ROUNDING = {"float64": 1e-13, "float32": 1e-5, "float16": 5e-4, "bfloat16": 4e-3}


@dataclass(frozen=True)
class Size:
    """The distance of a number between two runs at a step."""

    step: int
    a: float
    b: float

    @property
    def relative(self) -> float:
        """Return the difference in parts of the larger number, nan where one is nan."""
        return distance(self.a, self.b)


_MEASURES: dict[str, tuple[str, Callable[[Step], float]]] = {
    "loss": ("the loss", lambda step: sum(step.loss)),
    "gradient": ("the norm of the gradient", lambda step: step.gradient.norm),
    "learning rate": ("the learning rate", lambda step: step.lr[0] or 0.0),
    "weights": ("the norm of the weights", lambda step: step.weights.norm),
}


def sizes(comparison: Comparison, difference: Difference) -> tuple[str, list[Size]]:
    """Return what is measured, and how far it is apart from the difference on.

    A batch or a mode has no size of its own: the loss shows what becomes of it. A size
    of 0 means that the numbers differ where a norm does not show it.
    """
    if difference.quantity == "evaluation":
        found = [
            Size(done - 1, one.output.norm, other.output.norm)
            for done, (first, second) in sorted(comparison.evaluations.items())
            for one, other in list(zip(first, second, strict=False))[:1]
            if done > difference.step and one.output and other.output
        ]
        return "the norm of the first output", found
    name, read = _MEASURES.get(difference.quantity, _MEASURES["loss"])
    start = max(difference.step, 0)
    later = enumerate(comparison.pairs[start:], start)
    return name, [Size(step, read(one), read(other)) for step, (one, other) in later]


def trend(found: list[Size]) -> str:
    """Say in a few words what becomes of a difference; "" for less than two sizes."""
    numbers = [size.relative for size in found]
    if len(numbers) < 2:
        return ""
    if any(map(math.isnan, numbers)):
        return "one of the runs ends in nan or infinity"
    start = next((n for n in numbers if n), 0.0)
    end = max(numbers[-max(1, len(numbers) // 10) :])
    if not end:
        return "it goes away" if start else "it does not show in the digits recorded"
    if end > 3 * start:
        return "it grows"
    return "it shrinks" if end < start / 3 else "it stays about the same"


def distance(a: float, b: float) -> float:
    """Return how far two numbers are apart, in parts of the larger one."""
    return 0.0 if a == b else abs(a - b) / max(abs(a), abs(b))


def tolerance(precisions: Sequence[str]) -> float:
    """Return the relative size up to which a difference can be rounding."""
    words = {word for text in precisions for word in text.split()}
    return max((_ROUNDING[w] for w in words if w in _ROUNDING), default=1e-5)


def tensors_apart(a: Tensors, b: Tensors, how: Match) -> float:
    """Return the largest distance of two norms, in parts of a large one.

    nan where only one run has the tensor that differs.
    """
    total = max(a.norm, b.norm) or 1.0
    apart = (
        abs(a.norms[i] - b.norms[j]) / max(a.norms[i], b.norms[j], 0.1 * total)
        for i, j in how.pairs
        if a.hash_of(i) != b.hash_of(j)
    )
    return max(apart, default=math.nan)


def batches_apart(a: Batch, b: Batch) -> float:
    """Return how far two batches are apart, by their norms and first values."""
    apart = [0.0]
    if a.shape != b.shape:
        return math.inf
    for norm_a, norm_b, first_a, first_b in zip(
        a.norm, b.norm, a.first, b.first, strict=True
    ):
        apart.append(distance(norm_a, norm_b))
        scale = max(map(abs, (*first_a, *first_b)), default=1.0) or 1.0
        pairs = zip(first_a, first_b, strict=False)
        apart += [abs(x - y) / scale for x, y in pairs]
    return max(apart)
