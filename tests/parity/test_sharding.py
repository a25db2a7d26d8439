"""A model dealt out to two processes: both halves compute the same, to the bit."""

import importlib
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import torch.distributed as dist
from pytorch_lightning.utilities.consolidate_checkpoint import _format_checkpoint
from torch import Tensor

import lightning.sharding
import plain_pytorch.sharding
from compare.parity.results import numbers
from lightning.distributed import LitDistributedMNIST
from lightning.sharding import LitShardedAutoEncoder, make_trainer
from plain_pytorch.distributed import join_group
from plain_pytorch.sharding import PlainShardedAutoEncoder
from shared.checkpoints.sharded import consolidate
from shared.checkpoints.whole_files import read_checkpoint
from shared.data import MNISTData
from shared.model import AutoEncoder
from shared.options.distributed import DistributedConfig
from shared.options.evaluate import EvaluateConfig
from shared.options.sharding import ShardingConfig
from shared.options.train import Config
from shared.runtime.errors import UsageError
from tests.parity.halves import Ran, assert_same, run_half
from tests.rank_processes import finish_ranks, run_ranks, start_ranks

FSDP_PARTS = "torch.distributed.fsdp._fully_shard._fsdp_param_group"
HALVES = ["plain_pytorch", "lightning"]
needs_gpu = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="torch finds no GPU here"
)


def options(output_dir: Path) -> ShardingConfig:
    return ShardingConfig(
        dataset="mnist-5k",
        data_dir=output_dir / "data",
        output_dir=output_dir,
        batch_size=32,
        learning_rate=3,  # so much that the first epoch is the best
        max_epochs=2,
        accelerator="cpu",
        limit_train_batches=12,
        limit_val_batches=3,
        limit_test_batches=3,
        devices=2,
    )


@pytest.fixture
def config(tmp_path: Path) -> ShardingConfig:
    return options(tmp_path)


class Trained(NamedTuple):
    """What each half's two ranks did, and the folder of its checkpoints."""

    config: ShardingConfig
    ranks: dict[str, list[Ran]]
    checkpoints: dict[str, Path]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    config = options(tmp_path_factory.mktemp("sharding"))
    folders = {half: config.output_dir / half for half in HALVES}
    ranks = {
        half: run_ranks(half, "sharding", config, folder, partial(count, folder))
        for half, folder in folders.items()
    }
    return Trained(
        config, ranks, {half: path / "checkpoints" for half, path in folders.items()}
    )


def count(folder: Path) -> None:
    """Let every rank note each time that it borrows weights from the others."""
    _fsdp_param_group: Any = importlib.import_module(FSDP_PARTS)
    gather = _fsdp_param_group.foreach_all_gather

    def noted_gather(*args: Any, **kwargs: Any) -> Any:
        with (folder / f"rank{os.environ['RANK']}.gathered").open("a") as file:
            file.write("x")
        return gather(*args, **kwargs)

    _fsdp_param_group.foreach_all_gather = noted_gather


def gathered(folder: Path) -> int:
    return len((folder / "rank0.gathered").read_text())


def optimizer_state(path: Path) -> Tensor:
    """Return the optimizer's state in a file; its order is another in each lesson."""
    state = read_checkpoint(path)["optimizer_states"][0]["state"]
    names = "step", "exp_avg", "exp_avg_sq"
    ordered = [state[number][name] for number in sorted(state) for name in names]
    return torch.cat([*numbers(ordered)])


def test_same_on_both_ranks(trained: Trained) -> None:
    plain, lit = (trained.ranks[half] for half in HALVES)
    for ours, theirs in zip(plain, lit, strict=True):
        assert len(ours.trace.steps) == 2 * 12
        assert_same(ours, theirs)
    last = plain[0].results["decoder.2.weight"]
    best = read_checkpoint(trained.checkpoints["plain_pytorch"] / "best.ckpt")
    assert best["epoch"] == 0
    assert not torch.equal(best["state_dict"]["decoder.2.weight"], last)
    mine, yours = ([step.weights.hash for step in rank.trace.steps] for rank in plain)
    assert not {*mine} & {*yours}  # each has its own part


def test_same_as_the_whole_model_on_each_of_two_ranks(trained: Trained) -> None:
    """Of two numbers the sum is the same in any order; of three it is not."""
    config = {**vars(trained.config), "strategy": "ddp"}
    run_dir = trained.config.output_dir / "ddp"
    whole = run_ranks(
        "plain_pytorch", "distributed", DistributedConfig(**config), run_dir
    )
    sharded = trained.ranks["plain_pytorch"]
    for name, values in whole[0].results.items():
        if name not in ("optimizer", "best.ckpt"):
            assert torch.equal(values, sharded[0].results[name]), name
    last = trained.checkpoints["plain_pytorch"] / "last.ckpt"
    assert torch.equal(
        optimizer_state(last), optimizer_state(run_dir / "checkpoints" / "last.ckpt")
    )


@pytest.mark.slow
def test_not_the_same_as_three_whole_models(config: ShardingConfig) -> None:
    """The gradients of three ranks are added up in another order."""
    config = replace(config, devices=3, max_epochs=1, learning_rate=1e-3)
    plain, lit = (
        run_ranks(half, "sharding", config, config.output_dir / half) for half in HALVES
    )
    for ours, theirs in zip(plain, lit, strict=True):
        assert_same(ours, theirs)
    ddp = DistributedConfig(**{**vars(config), "strategy": "ddp"})
    run_dir = config.output_dir / "ddp"
    whole = run_ranks("plain_pytorch", "distributed", ddp, run_dir)[0].results
    sharded = plain[0].results
    name = "decoder.2.weight"
    assert not torch.equal(whole[name], sharded[name])
    assert torch.allclose(whole[name], sharded[name], atol=1e-6)


def test_stage_2_collects_the_weights_less_often(trained: Trained) -> None:
    config = replace(trained.config, strategy="deepspeed_stage_2")
    run_dir = config.output_dir / "stage 2"
    ranks = run_ranks(
        "plain_pytorch", "sharding", config, run_dir, partial(count, run_dir)
    )
    for ours, theirs in zip(ranks, trained.ranks["plain_pytorch"], strict=True):
        assert_same(ours, theirs)
    # Two parts, not again for a backward pass, and once for three batches evaluated.
    spared = 2 * 24 + 2 * (3 - 1) * 3
    assert gathered(config.output_dir / "plain_pytorch") == gathered(run_dir) + spared


def test_each_half_reads_the_plain_file_of_the_other(trained: Trained) -> None:
    config = trained.config
    of_all = {name: getattr(config, name) for name in vars(Config())}
    one, other = (
        run_half(
            reader,
            "evaluate",
            EvaluateConfig(
                **of_all, ckpt_path=trained.checkpoints[writer] / "best.ckpt"
            ),
            config.output_dir / f"evaluated by {reader}",
        ).results
        for reader, writer in zip(HALVES, reversed(HALVES), strict=True)
    )
    assert one.keys() == other.keys()
    for name, values in one.items():
        assert torch.equal(values, other[name]), name


def test_lightnings_own_command_cannot_consolidate() -> None:
    """Should it do so one day, the lesson can take it."""
    with pytest.raises(KeyError, match="model"):
        _format_checkpoint({"state_dict": {}, "optimizer_0": {}})


def interrupt_save() -> None:
    """Send this rank a Ctrl-C while its part is written."""
    fsync = os.fsync

    def interrupted_fsync(file: int) -> None:
        os.fsync = fsync
        os.kill(os.getpid(), signal.SIGINT)
        fsync(file)

    os.fsync = interrupted_fsync  # type: ignore[assignment]


@pytest.mark.parametrize("half", HALVES)
def test_ctrl_c_waits_for_the_end_of_a_save(config: ShardingConfig, half: str) -> None:
    run_dir = config.output_dir / half
    ranks = start_ranks(half, "sharding", config, run_dir, interrupt_save)
    assert finish_ranks(ranks) == [130, 130]
    (folder,) = (run_dir / "checkpoints").iterdir()
    consolidate(folder, run_dir / "best.ckpt")
    assert read_checkpoint(run_dir / "best.ckpt")["epoch"] == 0


def test_an_ordinary_optimizer_goes_on(trained: Trained) -> None:
    checkpoint = read_checkpoint(trained.checkpoints["plain_pytorch"] / "last.ckpt")
    model = AutoEncoder()
    model.load_state_dict(checkpoint["state_dict"])
    optimizer = torch.optim.Adam(model.parameters())
    optimizer.load_state_dict(checkpoint["optimizer_states"][0])
    for weight in model.parameters():
        assert optimizer.state[weight]["exp_avg"].shape == weight.shape
        assert optimizer.state[weight]["step"] == 24
        weight.grad = torch.zeros_like(weight)
    optimizer.step()


@pytest.fixture
def one_process() -> Iterator[None]:
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("one_process")
@pytest.mark.parametrize("writer", HALVES)
@pytest.mark.parametrize("reader", HALVES)
def test_one_process_reads_the_parts_of_two(
    trained: Trained, reader: str, writer: str
) -> None:
    """Of either half."""
    config = replace(trained.config, devices=1)
    size = config.hidden_dim, config.latent_dim, config.learning_rate
    folder = trained.checkpoints[writer] / "epoch=0.sharded"
    model: Any
    if reader == "lightning":
        model = LitShardedAutoEncoder(*size)
        trainer = make_trainer(config, config.output_dir / "run")
        trainer.test(model, LitDistributedMNIST(config), folder, weights_only=True)
    else:
        join_group(config)
        model = PlainShardedAutoEncoder(*size)
        model.shard(config)
        plain_pytorch.sharding.test(model, MNISTData(config), config, folder)
    best = read_checkpoint(trained.checkpoints[writer] / "best.ckpt")["state_dict"]
    read = model.state_dict()
    assert read.keys() == best.keys()
    for name, weight in read.items():
        assert torch.equal(weight.full_tensor(), best[name]), name


@pytest.mark.parametrize(
    ("on_gpu", "why"), [(False, "DeepSpeed needs a GPU"), (True, "not installed")]
)
def test_deepspeed_is_refused_in_one_line(
    config: ShardingConfig, monkeypatch: pytest.MonkeyPatch, on_gpu: bool, why: str
) -> None:
    config = replace(config, strategy="deepspeed_stage_2")
    monkeypatch.setattr(ShardingConfig, "use_cuda", on_gpu)
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(UsageError, match=rf"{why}.* --strategy fsdp$"):
        lightning.sharding.main(config, config.output_dir)


def test_two_processes_need_torchrun(config: ShardingConfig) -> None:
    with pytest.raises(UsageError, match=r"torchrun .* -m plain_pytorch\.sharding$"):
        plain_pytorch.sharding.main(config, config.output_dir)


@pytest.mark.gpu
@needs_gpu
def test_same_on_a_gpu(config: ShardingConfig) -> None:
    config = replace(config, accelerator="cuda", devices=1)
    ours, theirs = (
        run_ranks(half, "sharding", config, config.output_dir / half) for half in HALVES
    )
    assert_same(ours[0], theirs[0])


@pytest.mark.gpu
@needs_gpu
def test_deepspeed_on_a_gpu(config: ShardingConfig) -> None:
    pytest.importorskip("deepspeed")
    strategy: Any = "deepspeed_stage_2"
    config = replace(config, accelerator="cuda", devices=1, strategy=strategy)
    run_dir = config.output_dir / "run"
    assert finish_ranks(start_ranks("lightning", "sharding", config, run_dir)) == [0]
    best = read_checkpoint(run_dir / "checkpoints" / "best.ckpt")
    assert best["state_dict"].keys() == AutoEncoder().state_dict().keys()
