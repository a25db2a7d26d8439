"""Ways that take turns, and what is left of their times: medians and quartiles."""

from collections.abc import Callable, Mapping
from statistics import median, quantiles
from typing import NamedTuple

from compare.speed.ways import Sample

Samples = dict[str, list[Sample]]
"""What every turn of each way has measured."""


def take_turns(ways: Mapping[str, Callable[[], Sample]], rounds: int) -> Samples:
    """Let each way train once a round, one after the other."""
    samples: Samples = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            samples[name].append(way())
    return samples


class Spread(NamedTuple):
    """The middle half of some numbers, and how many they are."""

    median: float
    lower: float
    upper: float
    n: int


def spread(samples: list[Sample], what: str) -> Spread:
    """Return median and quartiles of one of the things that samples have."""
    values = [sample[what] for sample in samples if what in sample]
    lower, middle, upper = quantiles(values, n=4, method="inclusive")
    return Spread(middle, lower, upper, len(values))


def ratio(samples: Samples, way: str, base: str, what: str) -> float:
    """Return the median over the rounds of how many times `base` a way takes.

    The two of a round were measured one after the other, under much the same load.
    """
    pairs = zip(samples[way], samples[base], strict=True)
    return median(one[what] / other[what] for one, other in pairs)
