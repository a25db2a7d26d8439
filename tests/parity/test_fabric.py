"""The lesson fabric computes the same in both halves, on each of two processes."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

import plain_pytorch.fabric
from shared.data import EpochSampler, ImageDataset, MNISTData
from shared.options.fabric import Config as FabricConfig
from shared.options.train import Config as TrainConfig
from shared.runtime.errors import UsageError
from tests.parity.halves import assert_same, run_half
from tests.rank_processes import add_layer, run_ranks, with_dropout

HALVES = ("plain_pytorch", "lightning")


@pytest.fixture
def config(small: TrainConfig) -> FabricConfig:
    return FabricConfig(**vars(replace(small, batch_size=32)), devices=2)


def assert_same_on_all_ranks(
    config: FabricConfig, *changes: Callable[[], None] | None
) -> None:
    """Fail unless each rank does the same in both halves, and all have equal weights.

    Args:
        config: the options of both.
        changes: come first on each rank, of the plain half and of the other.
    """
    ranks = [
        run_ranks(half, "fabric", config, config.output_dir / half, change)
        for half, change in zip(HALVES, changes or (None, None), strict=True)
    ]
    for plain, lightning in zip(*ranks, strict=True):
        assert_same(plain, lightning)
        dtype = " autocast bfloat16" if config.precision == "bf16-mixed" else ""
        precisions = {step.precision for step in plain.trace.steps}
        assert precisions == {(f"float32{dtype}",)}
    weights = [[step.weights for step in ran.trace.steps] for ran in ranks[0]]
    assert weights[0] == weights[-1]
    batches = [[step.batch for step in ran.trace.steps] for ran in ranks[0]]
    assert (batches[0] == batches[-1]) == (config.devices == 1)


@pytest.mark.parametrize(
    "precision", [pytest.param("32-true", marks=pytest.mark.slow), "bf16-mixed"]
)
def test_same_on_two_processes(config: FabricConfig, precision: Any) -> None:
    assert_same_on_all_ranks(replace(config, precision=precision))


def with_batch_norm() -> None:
    add_layer(nn.BatchNorm1d, 64)


def with_sizes_that_do_not_divide() -> None:
    setup = MNISTData.setup

    def setup_less(self: MNISTData, stage: str) -> None:
        setup(self, stage)
        for name in ("train_set", "val_set"):
            images = getattr(self, name).images
            odd = ImageDataset(images.select(torch.arange(203)))
            setattr(self, name, odd)

    MNISTData.setup = setup_less  # type: ignore[method-assign]


@pytest.mark.slow
@pytest.mark.parametrize(
    "change", [with_dropout, with_batch_norm, with_sizes_that_do_not_divide]
)
def test_same_with_other_models_and_sizes(
    config: FabricConfig, change: Callable[[], None]
) -> None:
    everything = replace(config, limit_train_batches=None, limit_val_batches=None)
    assert_same_on_all_ranks(everything, change, change)


@pytest.mark.slow
def test_one_process_in_32_bits_is_train(config: FabricConfig) -> None:
    config = replace(config, devices=1, precision="32-true")
    train = run_half("plain_pytorch", "train", config, config.output_dir / "train")
    for half in HALVES:
        (ran,) = run_ranks(half, "fabric", config, config.output_dir / half)
        assert_same(train, ran)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU here")
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_same_on_a_gpu(config: FabricConfig, precision: Any) -> None:
    config = replace(config, accelerator="cuda", devices=1, precision=precision)
    assert_same_on_all_ranks(config)


def gradients_kept_apart() -> None:
    """Take the gradients of this rank alone."""
    setattr(plain_pytorch.fabric, "DistributedDataParallel", lambda step: step)  # noqa: B010


def same_images_everywhere() -> None:
    """Forget which rank this is."""
    init = EpochSampler.__init__

    def of_rank_0(self: EpochSampler, *arguments: Any, **named: Any) -> None:
        init(self, *arguments, **named)
        self.rank = 0

    EpochSampler.__init__ = of_rank_0  # type: ignore[method-assign]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mistake", "first"),
    [
        (gradients_kept_apart, "gradient at step 0"),
        (same_images_everywhere, "gradient at step 0"),
    ],
)
def test_a_mistake_is_noticed(
    config: FabricConfig, mistake: Callable[[], None], first: str
) -> None:
    with pytest.raises(AssertionError, match=first):
        assert_same_on_all_ranks(config, mistake, None)


class Layer(nn.Linear):
    """A layer that says in which precision it calculates."""

    def training_step(self, images: Tensor) -> torch.dtype:
        return super().forward(images).dtype


def test_alone_and_without_ddp_fabric_calculates_a_step_in_32_bits() -> None:
    fabric = Fabric(accelerator="cpu", devices=1, precision="bf16-mixed")
    layer = fabric.setup(Layer(4, 4))
    layer.mark_forward_method("training_step")
    images = torch.zeros(1, 4)
    assert layer.training_step(images) == torch.float32
    with fabric.autocast():
        assert layer.training_step(images) == torch.bfloat16


def test_wrong_options(small: TrainConfig, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--devices 0: must be from 1"):
        FabricConfig(**vars(small), devices=0)
