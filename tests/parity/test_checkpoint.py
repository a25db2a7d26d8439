"""A run that was stopped ends as one that never was, whichever half goes on with it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from shared.config import TrainConfig
from shared.model import AutoEncoder
from shared.options.checkpoint import CheckpointConfig
from tests.parity.halves import Ran, assert_same, run_half

HALVES = ["plain_pytorch", "lightning"]
BATCHES = 6


class PowerCutError(Exception):
    """Ends a run in the middle of a step."""


@pytest.fixture
def config(small: TrainConfig) -> CheckpointConfig:
    options = vars(small) | {"max_epochs": 3, "limit_train_batches": BATCHES}
    return CheckpointConfig(**options, every_n_train_steps=2)


def stop(
    half: str, config: CheckpointConfig, run_dir: Path, step: int, method: str = "loss"
) -> Path:
    """Run a half until an error in a step; return its last checkpoint."""
    taken = 0

    def failing(function: Any) -> Any:
        def call(*arguments: Any) -> Any:
            nonlocal taken
            if torch.is_grad_enabled():
                if taken == step:
                    raise PowerCutError
                taken += 1
            return function(*arguments)

        return call

    with pytest.MonkeyPatch.context() as patch:
        loss = failing(AutoEncoder.reconstruction_loss)
        patch.setattr(AutoEncoder, "reconstruction_loss", loss)
        with pytest.raises(PowerCutError):
            run_half(half, "checkpoint", config, run_dir)
    return run_dir / "checkpoints" / "last.ckpt"


def resume(half: str, config: CheckpointConfig, path: Path) -> Ran:
    """Go on with a run in its own folder, where the random numbers are others."""
    torch.manual_seed(999)
    config = replace(config, ckpt_path=str(path))
    return run_half(half, "checkpoint", config, path.parents[1])


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


def test_both_halves_are_the_same(config: CheckpointConfig) -> None:
    plain, lightning = (
        run_half(half, "checkpoint", config, config.output_dir / half)
        for half in HALVES
    )
    assert len(plain.trace.steps) == 3 * BATCHES
    assert_same(plain, lightning)


@pytest.mark.usefixtures("dropout")
@pytest.mark.parametrize("resumer", HALVES)
@pytest.mark.parametrize("writer", HALVES)
@pytest.mark.parametrize("step", [0, 2, BATCHES - 1, BATCHES, 2 * BATCHES + 3])
def test_a_resumed_run_ends_as_one_that_never_stopped(
    config: CheckpointConfig, writer: str, resumer: str, step: int
) -> None:
    whole = run_half(resumer, "checkpoint", config, config.output_dir / "whole")
    path = stop(writer, config, config.output_dir / "stopped", step)
    assert_resumed(whole, resume(resumer, config, path), step)
