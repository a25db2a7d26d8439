"""Run one half of a lesson in this process, and record all it does."""

import importlib
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from compare.divergence.difference import compare_runs
from compare.parity.results import read_results
from compare.trace.command import trace
from compare.trace.run import Run
from shared.options.common import RunConfig


class Ran(NamedTuple):
    """A run: every step and evaluation batch, and what it left in its folder."""

    trace: Run
    results: dict[str, Tensor]


def run_half(half: str, lesson: str, config: RunConfig, run_dir: Path) -> Ran:
    """Run a lesson's main in a new folder, or in that of the run it resumes."""
    run_dir.mkdir(parents=True, exist_ok=True)
    main = importlib.import_module(f"{half}.{lesson}").main
    with trace() as run:
        main(config, run_dir)
    return Ran(run, read_results(run_dir))


def assert_same(one: Ran, other: Ran) -> None:
    """Fail unless two runs are equal to the last bit.

    Every batch, loss, gradient, learning rate and weight of every step, every
    evaluation batch, the final weights, the optimizer's state, and every TensorBoard
    scalar.
    """
    first = compare_runs(one.trace, other.trace).first
    if first:
        raise AssertionError(f"{first.quantity} at step {first.step}")
    assert one.results.keys() == other.results.keys()
    for name in one.results:
        assert torch.equal(one.results[name], other.results[name]), name


def assert_resumed(whole: Ran, resumed: Ran, step: int) -> None:
    """Fail unless a run that went on from `step` ended as the one never stopped."""
    assert len(resumed.trace.steps) == len(whole.trace.steps) - step
    for then, now in zip(whole.trace.steps[step:], resumed.trace.steps, strict=True):
        # Of the generators only torch's is in use; Lightning seeds the others, too.
        assert then.random["torch"] == now.random["torch"]
        assert replace(then, random={}) == replace(now, random={})
    assert whole.results.keys() == resumed.results.keys()
    for name, values in whole.results.items():
        assert torch.equal(values, resumed.results[name]), name
