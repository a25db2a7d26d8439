"""The size of a difference, and what becomes of it over later steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from compare.divergence.difference import Comparison, Difference
from compare.trace.run import Step


@dataclass(frozen=True)
class Size:
    """The distance of a number between two runs at a step."""

    step: int
    a: float
    b: float

    @property
    def relative(self) -> float:
        """Return the difference in parts of the larger number, nan where one is nan."""
        if self.a == self.b:
            return 0.0
        return abs(self.a - self.b) / max(abs(self.a), abs(self.b))


_MEASURES: dict[str, tuple[str, Callable[[Step], float]]] = {
    "loss": ("the loss", lambda step: sum(step.loss)),
    "gradient": ("the norm of the gradient", lambda step: step.gradient.norm),
    "learning rate": ("the learning rate", lambda step: step.lr[0]),
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
