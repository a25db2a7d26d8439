"""Ways that take turns, and what is left of their times: medians and quartiles."""

from collections.abc import Callable, Mapping

from compare.bench.speed.ways import Sample
from compare.bench.spread import Spread, middle_half

Samples = dict[str, list[Sample]]
"""What every turn of each way has measured."""


def take_turns(ways: Mapping[str, Callable[[], Sample]], rounds: int) -> Samples:
    """Let each way train once a round, one after the other."""
    samples: Samples = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            samples[name].append(way())
    return samples


def spread(samples: list[Sample], what: str) -> Spread:
    """Return median and quartiles of one of the things that samples have."""
    return middle_half([sample[what] for sample in samples])


def ratio(samples: Samples, way: str, base: str, what: str) -> Spread:
    """Return how many times `base` a way takes, in each round.

    The two of a round were measured one after the other, under much the same load.
    """
    pairs = zip(samples[way], samples[base], strict=True)
    return middle_half([one[what] / other[what] for one, other in pairs])
