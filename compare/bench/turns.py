"""Time trainings in turns, A B A B, by processor time."""

import gc
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from itertools import count, pairwise
from statistics import median
from time import perf_counter, process_time
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook

SPAN = 20
"""Steps from one look at the clock to the next; the first span is not counted."""
FEWEST_STEPS = 2 * SPAN

Measured = TypeVar("Measured")

Samples = dict[str, list[float]]
"""The seconds that each way took, one number per round."""


def now(cuda: bool = False) -> float:
    """Return processor time or, on a GPU, the clock when the GPU is done, in seconds.

    Unlike the clock, processor time does not count what other programs take.
    """
    if cuda:
        torch.cuda.synchronize()
        return perf_counter()
    return process_time()


@contextmanager
def clock(cuda: bool = False) -> Iterator[list[float]]:
    """Yield a list that gets the time after every 20th step of any optimizer."""
    steps = count(1)
    times: list[float] = []

    def after_step(*_: Any) -> None:
        if next(steps) % SPAN == 0:
            times.append(now(cuda))

    hook = register_optimizer_step_post_hook(after_step)
    try:
        yield times
    finally:
        hook.remove()


def seconds_a_step(times: list[float]) -> float:
    """Return the time of a step in the median of all spans but the first."""
    return median(end - start for start, end in pairwise(times)) / SPAN


def take_turns(
    ways: Mapping[str, Callable[[], Measured]], rounds: int
) -> dict[str, list[Measured]]:
    """Return what each way measured when called once per round, one after the other."""
    samples: dict[str, list[Measured]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            samples[name].append(way())
    return samples


def time_trainings(
    trainings: Mapping[str, Callable[[], nn.Module]], rounds: int, cuda: bool = False
) -> tuple[Samples, dict[str, list[Tensor]]]:
    """Run trainings in turns.

    Args:
        trainings: each trains a new model for at least 40 steps of one epoch, and
            returns it.
        rounds: number of turns of each.
        cuda: whether they use a GPU.

    Returns:
        The seconds of a step, and the weights with which each training ended.
    """
    weights: dict[str, list[Tensor]] = {}

    def timed(name: str) -> float:
        gc.collect()  # what another turn has left is not collected in this one
        with clock(cuda) as times, quiet():
            model = trainings[name]()
        # A Trainer moves its model from the GPU back to the CPU.
        weights[name] = [weight.detach().cpu() for weight in model.parameters()]
        return seconds_a_step(times)

    ways = {name: lambda name=name: timed(name) for name in trainings}
    return take_turns(ways, rounds), weights


def same(one: Sequence[Tensor], other: Sequence[Tensor]) -> bool:
    """Return whether two sequences of tensors are equal to the last bit."""
    return len(one) == len(other) and all(map(torch.equal, one, other))


def same_as_first(computed: Mapping[str, Sequence[Tensor]]) -> list[str]:
    """Return the names of those that computed the same tensors as the first."""
    first = next(iter(computed.values()))
    return [name for name, tensors in computed.items() if same(tensors, first)]


@contextmanager
def quiet() -> Iterator[None]:
    """Hide all that a training prints."""
    log = logging.getLogger("pytorch_lightning")
    level = log.level
    log.setLevel(logging.ERROR)
    with (
        redirect_stdout(io.StringIO()),
        redirect_stderr(io.StringIO()),
        warnings.catch_warnings(action="ignore"),
    ):
        try:
            yield
        finally:
            log.setLevel(level)
