"""A case of the clinic, and the runs that it makes."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from compare.trace.command import trace
from compare.trace.run import Run


@dataclass(frozen=True)
class Case:
    """A training with one planted mistake, and where it must show first.

    `train(mistake)` trains with the mistake or without it. `healthy()` is the run to
    compare with: the same code without the mistake, unless the case has a loop for a
    Trainer.
    """

    name: str
    title: str
    thread: str  # where people met it: an issue, or ""
    step: int  # of the first difference; an evaluation counts to the step before
    quantity: str
    cause: str  # its name in compare.divergence.causes
    mend: str
    train: Callable[[bool], None]
    healthy: Callable[[], None]


def case(
    *,
    step: int,
    quantity: str,
    cause: str,
    mend: str,
    thread: str = "",
    healthy: Callable[[], None] | None = None,
) -> Callable[[Callable[[bool], None]], Case]:
    """Make a function of `mistake` a case. Its docstring is the title."""

    def make(train: Callable[[bool], None]) -> Case:
        return Case(
            name=train.__name__.replace("_", "-"),
            title=" ".join((train.__doc__ or "").split()),
            thread=thread,
            step=step,
            quantity=quantity,
            cause=cause,
            mend=mend,
            train=train,
            healthy=healthy or (lambda: train(False)),
        )

    return make


def record(name: str, training: Callable[[], None]) -> Run:
    """Trace a training, on one thread and without leaving anything changed behind."""
    with _left_as_it_was(), trace() as run:
        training()
    run.name = name
    return run


@contextmanager
def _left_as_it_was() -> Iterator[None]:
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    threads, environment = torch.get_num_threads(), dict(os.environ)
    os.environ.pop("PL_GLOBAL_SEED", None)  # seed_everything leaves it behind
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        os.environ.clear()
        os.environ.update(environment)
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
