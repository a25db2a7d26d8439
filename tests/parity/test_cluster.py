"""Ranks that fail: what was saved goes on from there, in both halves, to the bit."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from shared.checkpoints.whole_files import read_checkpoint
from shared.model import AutoEncoder
from shared.options.cluster import Config as ClusterConfig
from shared.options.train import Config as TrainConfig
from shared.runtime.errors import UsageError
from tests.parity.halves import Ran, assert_resumed, assert_same
from tests.rank_processes import finish_ranks, run_ranks, start_ranks, with_dropout

LAST = Path("checkpoints", "last.ckpt")
HALVES = ["plain_pytorch", "lightning"]


@pytest.fixture
def config(small: TrainConfig) -> ClusterConfig:
    options = vars(small) | {"batch_size": 32, "max_epochs": 3}
    return ClusterConfig(**options, devices=2, timeout=10)


def at_step(step: int, fault: Callable[[], Any], ranks: str) -> None:
    """Use dropout, and let a fault come in the middle of a step of these ranks."""
    with_dropout()
    loss = AutoEncoder.reconstruction_loss
    left = [step]

    def faulty_loss(self: AutoEncoder, images: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            if left[0] == 0 and os.environ["RANK"] in ranks:
                fault()
            left[0] -= 1
        return loss(self, images)

    AutoEncoder.reconstruction_loss = faulty_loss  # type: ignore[assignment,method-assign]


def raise_value_error() -> None:
    raise ValueError("the labels of this rank are upside down")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def hang() -> None:
    time.sleep(1000)


RAISES = partial(at_step, 29, raise_value_error, "1")
DIES = partial(at_step, 29, die, "1")
HANGS = partial(at_step, 29, hang, "1")
FIRST_DIES = partial(at_step, 29, die, "0")

whole_runs: dict[str, list[Ran]] = {}


def whole_run(half: str, config: ClusterConfig) -> list[Ran]:
    """Return the run that no fault came into, once for all faults."""
    if half not in whole_runs:
        run_dir = config.output_dir / f"whole {half}"
        config = replace(config, run_dir=run_dir)
        whole_runs[half] = run_ranks(half, "cluster", config, run_dir, with_dropout)
    return whole_runs[half]


@pytest.mark.slow
def test_same_on_both_ranks(config: ClusterConfig) -> None:
    plain, lit = (whole_run(half, config) for half in HALVES)
    for ours, theirs in zip(plain, lit, strict=True):
        assert len(ours.trace.steps) == 3 * 12
        assert_same(ours, theirs)


@pytest.mark.parametrize(
    "half", ["plain_pytorch", pytest.param("lightning", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(
    ("fault", "statuses", "said"),
    [
        (DIES, [1, -9], "error: rank 0: no answer from rank 1 ("),
        pytest.param(
            FIRST_DIES,
            [-9, 1],
            "error: rank 1: no answer from rank 0 (",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            RAISES,
            [1, 1],
            "error: rank 0: no answer from rank 1 (",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            HANGS,
            [1, -9],
            "error: rank 0: no answer from rank 1 (",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_fault_ends_all_ranks_and_the_run_goes_on_from_the_last_epoch(
    config: ClusterConfig,
    half: str,
    fault: Callable[[], None],
    statuses: list[int],
    said: str,
) -> None:
    run_dir = config.output_dir / "faulty"
    config = replace(config, run_dir=run_dir)
    ended = finish_ranks(start_ranks(half, "cluster", config, run_dir, fault))
    logs = "\n".join(path.read_text() for path in sorted(run_dir.glob("rank*.log")))
    assert ended == statuses, logs
    assert said in logs
    assert ("Traceback" in logs) == (fault is RAISES)  # that of its own mistake
    assert read_checkpoint(run_dir / LAST)["global_step"] == 24
    again = run_ranks(half, "cluster", config, run_dir, with_dropout)
    for one, other in zip(whole_run(half, config), again, strict=True):
        assert_resumed(one, other, 24)
    assert sorted(path.name for path in (run_dir / "checkpoints").iterdir()) == [
        "best.ckpt",
        "last.ckpt",
    ]


@pytest.mark.slow
def test_a_trainer_goes_on_in_the_right_order_with_workers(
    config: ClusterConfig,
) -> None:
    half, run_dir = "lightning", config.output_dir / "faulty"
    config = replace(config, run_dir=run_dir, num_workers=1)
    assert finish_ranks(start_ranks(half, "cluster", config, run_dir, DIES)) == [1, -9]
    again = run_ranks(half, "cluster", config, run_dir, with_dropout)
    for one, other in zip(whole_run(half, config), again, strict=True):
        assert_resumed(one, other, 24)


def die_in_the_second_save_of(name: str) -> None:
    """End rank 0 right before the file gets its name."""
    with_dropout()
    rename = Path.replace
    left = [1]

    def fatal_rename(self: Path, target: Any) -> Path:
        if Path(target).name == name:
            if left[0] == 0:
                die()
            left[0] -= 1
        return rename(self, target)

    Path.replace = fatal_rename  # type: ignore[assignment,method-assign]


@pytest.mark.slow
@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("name", ["best.ckpt", "last.ckpt"])
def test_a_rank_that_dies_while_it_saves_leaves_whole_files(
    config: ClusterConfig, half: str, name: str
) -> None:
    run_dir = config.output_dir / "faulty"
    config = replace(config, run_dir=run_dir)
    fault = partial(die_in_the_second_save_of, name)
    ended = finish_ranks(start_ranks(half, "cluster", config, run_dir, fault))
    assert ended == [-9, 1]
    assert read_checkpoint(run_dir / LAST)["global_step"] == 12
    again = run_ranks(half, "cluster", config, run_dir, with_dropout)
    for one, other in zip(whole_run(half, config), again, strict=True):
        assert_resumed(one, other, 12)


@pytest.mark.slow
@pytest.mark.parametrize("half", HALVES)
def test_other_numbers_of_processes_are_refused(
    config: ClusterConfig, half: str
) -> None:
    run_dir = config.output_dir / "run"
    config = replace(config, run_dir=run_dir, max_epochs=1)
    run_ranks(half, "cluster", config, run_dir)
    config = replace(config, devices=1, max_epochs=2)
    assert finish_ranks(start_ranks(half, "cluster", config, run_dir)) == [1]
    log = (run_dir / "rank0.log").read_text()
    assert "last.ckpt is of a run of 2 processes, and these are 1" in log


def test_options(config: ClusterConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ClusterConfig(accelerator="cpu").num_nodes == 1
    assert config.torchrun == "torchrun --nproc-per-node 2"
    two = replace(config, num_nodes=2)
    assert two.world_size == 4
    assert "--nnodes 2 --node-rank N --master-addr HOST" in two.torchrun
    with pytest.raises(UsageError, match="one machine"):
        two.for_comparison()
    for wrong in ({"num_nodes": 0}, {"timeout": 0}):
        with pytest.raises(UsageError, match="must be from 1"):
            ClusterConfig(**vars(config) | wrong)
    monkeypatch.setenv("WORLD_SIZE", "6")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert ClusterConfig(accelerator="cpu").num_nodes == 3
    assert ClusterConfig(accelerator="cpu").devices == 2


def test_a_folder_with_files_is_that_of_an_earlier_start(
    config: ClusterConfig, tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "file").touch()
    config = replace(config, run_dir=tmp_path / "run")
    assert config.make_run_dir(tmp_path / "parent") == tmp_path / "run"
    assert not (tmp_path / "parent").exists()
