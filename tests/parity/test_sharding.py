"""A model dealt out to two processes: both halves compute the same, to the bit."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
import torch.distributed.checkpoint as dcp
from pytorch_lightning.utilities.consolidate_checkpoint import _format_checkpoint
from torch import Tensor

import plain_pytorch.sharding
from shared.checkpoints.whole_files import read_checkpoint
from shared.model import AutoEncoder
from shared.options.distributed import Config as RanksConfig
from tests.parity.halves import Ran, assert_same
from tests.rank_processes import run_ranks

HALVES = ["plain_pytorch", "lightning"]
needs_gpu = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="torch finds no GPU here"
)


def options(output_dir: Path) -> RanksConfig:
    return RanksConfig(
        dataset="mnist-5k",
        data_dir=output_dir / "data",
        output_dir=output_dir,
        batch_size=32,
        learning_rate=3,  # so much that the first epoch is the best
        max_epochs=2,
        accelerator="cpu",
        limit_train_batches=12,
        limit_val_batches=3,
        devices=2,
    )


@pytest.fixture
def config(tmp_path: Path) -> RanksConfig:
    return options(tmp_path)


class Trained(NamedTuple):
    """The traces of each half's two ranks, and the folder of its run."""

    config: RanksConfig
    ranks: dict[str, list[Ran]]
    folders: dict[str, Path]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    config = options(tmp_path_factory.mktemp("sharding"))
    folders = {half: config.output_dir / half for half in HALVES}
    ranks = {
        half: run_ranks(half, "sharding", config, folder)
        for half, folder in folders.items()
    }
    return Trained(config, ranks, folders)


def test_same_on_both_ranks(trained: Trained) -> None:
    plain, lit = (trained.ranks[half] for half in HALVES)
    for ours, theirs in zip(plain, lit, strict=True):
        assert len(ours.trace.steps) == 2 * 12
        assert_same(ours, theirs)
    last = plain[0].results["decoder.2.weight"]
    checkpoints = trained.folders["plain_pytorch"] / "checkpoints"
    best = read_checkpoint(checkpoints / "best.ckpt")
    assert best["epoch"] == 0
    assert not torch.equal(best["state_dict"]["decoder.2.weight"], last)
    mine, yours = ([step.weights.hash for step in rank.trace.steps] for rank in plain)
    assert not {*mine} & {*yours}  # each has its own part


def whole(config: RanksConfig) -> dict[str, Tensor]:
    """Return the results of ranks that have all of the model each."""
    run_dir = config.output_dir / "ddp"
    return run_ranks("plain_pytorch", "distributed", config, run_dir)[0].results


def test_same_as_the_whole_model_on_each_of_two_ranks(trained: Trained) -> None:
    """Of two numbers the sum is the same in any order; of three it is not."""
    sharded = trained.ranks["plain_pytorch"][0].results
    for name, values in whole(trained.config).items():
        if name != "optimizer":  # whose numbers stand in another order
            assert torch.equal(values, sharded[name]), name


@pytest.mark.slow
def test_not_the_same_as_three_whole_models(config: RanksConfig) -> None:
    """The gradients of three ranks are added up in another order."""
    config = replace(config, devices=3, max_epochs=1, learning_rate=1e-3)
    plain, lit = (
        run_ranks(half, "sharding", config, config.output_dir / half) for half in HALVES
    )
    for ours, theirs in zip(plain, lit, strict=True):
        assert_same(ours, theirs)
    name = "decoder.2.weight"
    one, other = whole(config)[name], plain[0].results[name]
    assert not torch.equal(one, other)
    assert torch.allclose(one, other, atol=1e-6)


def test_lightnings_own_command_cannot_consolidate() -> None:
    """Should it do so one day, the lesson can take it."""
    with pytest.raises(KeyError, match="model"):
        _format_checkpoint({"state_dict": {}, "optimizer_0": {}})


@pytest.mark.parametrize("half", HALVES)
def test_an_ordinary_optimizer_goes_on(trained: Trained, half: str) -> None:
    checkpoint = read_checkpoint(trained.folders[half] / "checkpoints" / "last.ckpt")
    model = AutoEncoder()
    model.load_state_dict(checkpoint["state_dict"])
    optimizer = torch.optim.Adam(model.parameters())
    optimizer.load_state_dict(checkpoint["optimizer_states"][0])
    for weight in model.parameters():
        assert optimizer.state[weight]["exp_avg"].shape == weight.shape
        assert optimizer.state[weight]["step"] == 24
        weight.grad = torch.zeros_like(weight)
    optimizer.step()


@pytest.mark.parametrize("half", HALVES)
def test_one_process_reads_the_parts_of_two(trained: Trained, half: str) -> None:
    folder = trained.folders[half]
    model = AutoEncoder()
    weights = model.state_dict()
    dcp.load(  # type: ignore[attr-defined]
        {"state_dict": weights}, checkpoint_id=folder / "sharded" / "best.ckpt"
    )
    best = read_checkpoint(folder / "checkpoints" / "best.ckpt")["state_dict"]
    assert weights.keys() == best.keys()
    for name, weight in weights.items():
        assert torch.equal(weight, best[name]), name


def without_shards() -> None:
    vars(plain_pytorch.sharding)["fully_shard"] = lambda *_, **__: None


@pytest.mark.slow
def test_a_model_that_is_not_sharded_is_noticed(trained: Trained) -> None:
    run_dir = trained.config.output_dir / "wrong"
    change = without_shards
    wrong = run_ranks("plain_pytorch", "sharding", trained.config, run_dir, change)
    with pytest.raises(AssertionError, match="at step 0"):
        assert_same(wrong[0], trained.ranks["lightning"][0])


@pytest.mark.gpu
@needs_gpu
def test_same_on_a_gpu(config: RanksConfig) -> None:
    config = replace(config, accelerator="cuda", devices=1)
    ours, theirs = (
        run_ranks(half, "sharding", config, config.output_dir / half) for half in HALVES
    )
    assert_same(ours[0], theirs[0])
