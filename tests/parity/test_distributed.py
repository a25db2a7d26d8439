"""Two processes over gloo: both halves compute the same on each rank, to the bit."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import lightning.distributed
import plain_pytorch.distributed
from shared.checkpoints.whole_files import read_checkpoint
from shared.data import EpochSampler, ImageDataset, MNISTData
from shared.options.distributed import Config as RanksConfig
from shared.options.train import Config as TrainConfig
from tests.parity.halves import Ran, assert_same
from tests.processes import ROOT, run_forked
from tests.rank_processes import add_layer, run_ranks, with_dropout

LAST = Path("checkpoints", "last.ckpt")
HALVES = ["plain_pytorch", "lightning"]


@pytest.fixture
def config(small: TrainConfig) -> RanksConfig:
    return RanksConfig(**vars(replace(small, batch_size=32)), devices=2)


def run_both(config: RanksConfig, change: Any = None) -> tuple[list[Ran], list[Ran]]:
    plain, lit = (
        run_ranks(half, "distributed", config, config.output_dir / half, change)
        for half in HALVES
    )
    return plain, lit


def with_batch_norm() -> None:
    add_layer(nn.BatchNorm1d, 64)


def with_203_images() -> None:
    """Leave so few images that neither 2 nor 32 divides them."""
    setup = MNISTData.setup

    def setup_less(self: MNISTData, stage: str) -> None:
        setup(self, stage)
        for name in ("train_set", "val_set"):
            images = getattr(self, name).images
            setattr(self, name, ImageDataset(images.select(torch.arange(203))))

    MNISTData.setup = setup_less  # type: ignore[assignment,method-assign]


def weights(run: Ran) -> list[str]:
    return [step.weights.hash for step in run.trace.steps]


def assert_same_on_both_ranks(plain: list[Ran], lit: list[Ran]) -> None:
    for ours, theirs in zip(plain, lit, strict=True):
        assert len(ours.trace.steps) == 2 * 12  # the limits are for each process
        assert len(ours.trace.evaluations) == 2 * 3
        assert_same(ours, theirs)
    assert weights(plain[0]) == weights(plain[1])
    batches = [
        {batch.hash for step in rank.trace.steps for batch in step.batch if batch}
        for rank in plain
    ]
    assert not batches[0] & batches[1]


def test_same_on_both_ranks_and_each_half_loads_what_the_other_saved(
    config: RanksConfig,
) -> None:
    assert_same_on_both_ranks(*run_both(config))
    files = {half: config.output_dir / half / LAST for half in HALVES}
    saved = {half: read_checkpoint(path) for half, path in files.items()}
    plain = plain_pytorch.distributed.Model(**saved["lightning"]["hyper_parameters"])
    plain.load_state_dict(saved["lightning"]["state_dict"])
    lit = lightning.distributed.Model.load_from_checkpoint(
        files["plain_pytorch"], weights_only=True
    )
    for ours, theirs in zip(plain.parameters(), lit.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.slow
@pytest.mark.parametrize("change", [with_dropout, with_batch_norm])
def test_same_with_another_layer(config: RanksConfig, change: Any) -> None:
    assert_same_on_both_ranks(*run_both(config, change))


@pytest.mark.slow
@pytest.mark.parametrize("devices", [2, 3])
def test_same_where_sizes_do_not_divide(config: RanksConfig, devices: int) -> None:
    config = replace(config, limit_train_batches=None, limit_val_batches=None)
    config = replace(config, devices=devices)
    plain, lit = run_both(config, with_203_images)
    for ours, theirs in zip(plain, lit, strict=True):
        assert len(ours.trace.steps) == 2 * {2: 4, 3: 3}[devices]
        assert_same(ours, theirs)


def without_set_epoch() -> None:
    EpochSampler.set_epoch = lambda self, epoch: None  # type: ignore[method-assign]


def without_averaged_gradients() -> None:
    forward = DistributedDataParallel.forward

    def forward_alone(self: Any, *arguments: Any) -> Any:
        with self.no_sync():
            return forward(self, *arguments)

    DistributedDataParallel.forward = forward_alone  # type: ignore[method-assign]


def without_reduced_val_loss() -> None:
    all_reduce = dist.all_reduce

    def only_gradients(tensor: Any, *arguments: Any, **options: Any) -> Any:
        if tensor.numel() > 1:
            return all_reduce(tensor, *arguments, **options)

    dist.all_reduce = only_gradients


@pytest.mark.parametrize(
    ("mistake", "noticed"),
    [
        pytest.param(without_set_epoch, "batch at step 12", marks=pytest.mark.slow),
        (without_averaged_gradients, "gradient at step 0"),
        pytest.param(without_reduced_val_loss, "val_loss", marks=pytest.mark.slow),
    ],
)
def test_a_mistake_is_noticed(config: RanksConfig, mistake: Any, noticed: str) -> None:
    wrong, right = (
        run_ranks(
            "plain_pytorch", "distributed", config, config.output_dir / name, change
        )
        for name, change in (("wrong", mistake), ("right", None))
    )
    with pytest.raises(AssertionError, match=noticed):
        assert_same(wrong[0], right[0])


@pytest.mark.slow
def test_torchrun_starts_both_halves(config: RanksConfig) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    torchrun += ["--nproc-per-node=2", "-m"]
    options = ["--dataset=mnist-5k", "--accelerator=cpu", "--limit-train-batches=2"]
    saved = []
    for half in HALVES:
        run_dir = config.output_dir / half
        arguments = [f"{half}.distributed", *options, f"--run-dir={run_dir}"]
        subprocess.run([*torchrun, *arguments], cwd=ROOT, check=True)
        checkpoint = read_checkpoint(run_dir / LAST)
        saved.append(checkpoint["state_dict"])
    for name, weight in saved[0].items():
        assert torch.equal(weight, saved[1][name]), name


@pytest.mark.parametrize(
    ("module", "arguments", "environment", "said"),
    [
        (
            "plain_pytorch.distributed",
            ["--devices=3"],
            {},
            "start it with: torchrun --nproc-per-node 3 -m plain_pytorch.distributed",
        ),
        (
            "lightning.distributed",
            ["--devices=3"],
            {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_WORLD_SIZE": "2"},
            "2 processes were started for a run of 3",
        ),
        ("lightning.distributed", ["--devices=0"], {}, "--devices 0: must be from 1"),
    ],
)
def test_wrong_options(
    module: str,
    arguments: list[str],
    environment: dict[str, str],
    said: str,
    tmp_path: Path,
) -> None:
    output = f"--output-dir={tmp_path}"
    status, _, stderr = run_forked(module, output, *arguments, **environment)
    assert status == 2
    assert said in " ".join(stderr.replace("│", " ").split())
    assert not [*tmp_path.iterdir()]


def test_torchrun_says_how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    assert RanksConfig().devices == 2
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert RanksConfig(accelerator="cpu").devices == 4


def test_more_processes_than_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ValueError, match="--devices 2: this machine has 1 GPU"):
        RanksConfig()
