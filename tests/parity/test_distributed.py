"""Two processes over gloo: both halves compute the same on each rank, to the bit."""

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from shared.checkpoints.resume import LAST
from shared.data import ImageDataset, MNISTData
from shared.model import AutoEncoder
from shared.options.checkpoint import CheckpointConfig
from shared.options.distributed import DistributedConfig
from shared.options.train import TrainConfig
from tests.parity.halves import Ran, assert_resumed, assert_same, run_half
from tests.rank_processes import finish_ranks, run_ranks, start_ranks

HALVES = ["plain_pytorch", "lightning"]


@pytest.fixture
def config(small: TrainConfig) -> DistributedConfig:
    return DistributedConfig(**vars(replace(small, batch_size=32)), devices=2)


def add_layer(layer: type[nn.Module], *sizes: Any) -> None:
    """Put one more layer into the shared model."""
    init = AutoEncoder.__init__

    def init_with_layer(self: AutoEncoder, *arguments: Any) -> None:
        init(self, *arguments)
        self.encoder.insert(2, layer(*sizes))

    AutoEncoder.__init__ = init_with_layer  # type: ignore[assignment,method-assign]


def with_dropout() -> None:
    add_layer(nn.Dropout, 0.2)


def with_batch_norm() -> None:
    add_layer(nn.BatchNorm1d, 64)


def with_sizes_that_do_not_divide() -> None:
    setup = MNISTData.setup

    def setup_less(self: MNISTData, stage: str) -> None:
        setup(self, stage)
        for name in ("train_set", "val_set", "test_set"):
            if hasattr(self, name):
                images = getattr(self, name).images
                odd = ImageDataset(images.select(torch.arange(203)))
                setattr(self, name, odd)

    MNISTData.setup = setup_less  # type: ignore[assignment,method-assign]


def power_cut(step: int) -> None:
    """End this rank in the middle of its step `step`, of steps counted from 0."""
    loss = AutoEncoder.reconstruction_loss
    left = [step]

    def fatal_loss(self: AutoEncoder, images: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            if left[0] == 0:
                os._exit(7)
            left[0] -= 1
        return loss(self, images)

    AutoEncoder.reconstruction_loss = fatal_loss  # type: ignore[assignment,method-assign]


def power_cut_with_dropout(step: int) -> None:
    with_dropout()
    power_cut(step)


def weights(run: Ran) -> list[str]:
    return [step.weights.hash for step in run.trace.steps]


@pytest.mark.parametrize(
    "change", [None, with_dropout, with_batch_norm, with_sizes_that_do_not_divide]
)
def test_same_on_both_ranks(config: DistributedConfig, change: Any) -> None:
    if change is with_sizes_that_do_not_divide:
        config = replace(
            config,
            limit_train_batches=None,
            limit_val_batches=None,
            limit_test_batches=None,
        )
    plain, lit = (
        run_ranks(half, "distributed", config, config.output_dir / half, change)
        for half in HALVES
    )
    for ours, theirs in zip(plain, lit, strict=True):
        assert len(ours.trace.steps) == 2 * (config.limit_train_batches or 4)
        assert_same(ours, theirs)
    assert weights(plain[0]) == weights(plain[1])
    batches = [[step.batch for step in rank.trace.steps] for rank in plain]
    assert not any(one == other for one, other in zip(*batches, strict=True))


def stop_ranks(
    half: str, config: DistributedConfig, run_dir: Path, change: Callable[[], None]
) -> Path:
    """Run a half until all its ranks end inside a step; return its last.ckpt."""
    config = replace(config, every_n_train_steps=3)
    processes = start_ranks(half, "distributed", config, run_dir, change)
    assert finish_ranks(processes) == [7] * config.devices
    return run_dir / LAST


@pytest.mark.parametrize(("writer", "resumer"), list(product(HALVES, HALVES)))
def test_a_run_cut_off_inside_an_epoch_ends_as_one_that_was_not(
    config: DistributedConfig, writer: str, resumer: str
) -> None:
    whole = run_ranks(
        resumer, "distributed", config, config.output_dir / "whole", with_dropout
    )
    run_dir = config.output_dir / "cut"
    path = stop_ranks(writer, config, run_dir, partial(power_cut_with_dropout, 17))
    config = replace(config, ckpt_path=str(path))
    resumed = run_ranks(resumer, "distributed", config, run_dir, with_dropout)
    for one, other in zip(whole, resumed, strict=True):
        assert_resumed(one, other, 15)


@pytest.mark.parametrize("half", HALVES)
def test_a_run_that_is_cut_off_again_at_once_loses_no_random_numbers(
    config: DistributedConfig, half: str
) -> None:
    whole = run_ranks(
        half, "distributed", config, config.output_dir / "whole", with_dropout
    )
    run_dir = config.output_dir / "cut"
    path = stop_ranks(half, config, run_dir, partial(power_cut_with_dropout, 17))
    config = replace(config, ckpt_path=str(path))
    stop_ranks(half, config, run_dir, partial(power_cut_with_dropout, 0))
    resumed = run_ranks(half, "distributed", config, run_dir, with_dropout)
    for one, other in zip(whole, resumed, strict=True):
        assert_resumed(one, other, 15)


@pytest.mark.parametrize("writer", HALVES)
def test_two_processes_go_on_where_one_stopped(
    config: DistributedConfig, writer: str
) -> None:
    alone = replace(config, devices=1, batch_size=64)
    path = stop_ranks(writer, alone, config.output_dir / "one", partial(power_cut, 17))
    config = replace(config, ckpt_path=str(path))
    plain, lit = (
        run_ranks(half, "distributed", config, config.output_dir / half)
        for half in HALVES
    )
    for ours, theirs in zip(plain, lit, strict=True):
        assert len(ours.trace.steps) == 24 - 15
        assert_same(ours, theirs)


@pytest.mark.parametrize("writer", HALVES)
def test_one_process_goes_on_where_two_stopped(
    config: DistributedConfig, writer: str
) -> None:
    """Both halves alike, on the images that are left, in the same order."""
    path = stop_ranks(writer, config, config.output_dir / "two", partial(power_cut, 17))
    one = CheckpointConfig(
        **{name: getattr(config, name) for name in vars(CheckpointConfig())}
    )
    one = replace(one, batch_size=64, ckpt_path=str(path))
    ours, theirs = (
        run_half(half, "checkpoint", one, config.output_dir / f"one {half}")
        for half in HALVES
    )
    assert_same(ours, theirs)
    assert len(ours.trace.steps) == 24 - 15
