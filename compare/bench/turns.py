"""Measure ways to train in turns, A B A B, and report medians with quartiles."""

import io
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from statistics import quantiles
from time import process_time
from typing import Any

from torch import Tensor

from shared.data import Batch

WARM_UP = 20
"""Steps at the start of each epoch that are not counted."""

Samples = dict[str, list[float]]
"""The measurements of each way, one per round."""


class Clock:
    """Notes the processor time at which every training step begins.

    A base class to put before a model. Processor time, unlike the clock on the wall,
    does not count what other programs take.
    """

    starts: list[list[float]]
    """A list per epoch."""

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Note the time, then do what the model does."""
        if batch_idx == 0:
            self.starts = [*getattr(self, "starts", []), []]
        self.starts[-1].append(process_time())
        return super().training_step(batch, batch_idx)  # type: ignore[misc]

    def seconds(self, warm_up: int = WARM_UP) -> float:
        """Return the mean processor time of a step, in seconds."""
        spans = [epoch[-1] - epoch[warm_up] for epoch in self.starts]
        steps = [len(epoch) - 1 - warm_up for epoch in self.starts]
        return sum(spans) / sum(steps)


def take_turns(ways: Mapping[str, Callable[[], float]], rounds: int) -> Samples:
    """Measure each way once per round, one after the other."""
    samples: Samples = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            samples[name].append(way())
    return samples


def ratios(samples: Samples, way: str, base: str) -> list[float]:
    """Return how many times `base` a way takes, for each round.

    The two of a round were measured one after the other, under much the same load.
    """
    pairs = zip(samples[way], samples[base], strict=True)
    return [one / other for one, other in pairs]


def show(values: list[float], form: str) -> str:
    """Return the median and, in brackets, the quartiles of some numbers."""
    lower, middle, upper = quantiles(values, n=4, method="inclusive")
    return f"{middle:{form}} ({lower:{form}} to {upper:{form}})"


@contextmanager
def quiet_run_dir() -> Iterator[Path]:
    """Yield a temporary folder for a run, and hide all that the run prints."""
    log = logging.getLogger("pytorch_lightning")
    level = log.level
    log.setLevel(logging.ERROR)
    with (
        tempfile.TemporaryDirectory() as folder,
        redirect_stdout(io.StringIO()),
        redirect_stderr(io.StringIO()),
        warnings.catch_warnings(action="ignore"),
    ):
        try:
            yield Path(folder)
        finally:
            log.setLevel(level)


def as_table(samples: Samples, base: str, unit: float) -> list[list[Any]]:
    """Return a row for each way: its name, its time, how many times `base` it takes.

    Args:
        samples: seconds.
        base: one of the ways.
        unit: seconds in a unit of the table, such as 1e-6.
    """
    return [
        [
            name,
            show([value / unit for value in values], ".0f"),
            show(ratios(samples, name, base), ".2f"),
        ]
        for name, values in samples.items()
    ]
