"""A rank that fails ends the others, soon; what was saved goes on from there."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from shared.checkpoints.resume import LAST
from shared.checkpoints.whole_files import read_checkpoint
from shared.model import AutoEncoder
from shared.options.distributed import DistributedConfig
from shared.options.train import TrainConfig
from tests.parity.halves import Ran, assert_resumed
from tests.processes import ROOT
from tests.rank_processes import finish_ranks, run_ranks, start_ranks

HALVES = ["plain_pytorch", "lightning"]


@pytest.fixture
def config(small: TrainConfig) -> DistributedConfig:
    config = DistributedConfig(**vars(replace(small, batch_size=32)), devices=2)
    return replace(config, every_n_train_steps=3, timeout=3)


def at_step_17(fault: Callable[[], Any], ranks: str) -> None:
    """Let a fault come in the middle of a step of these ranks."""
    loss = AutoEncoder.reconstruction_loss
    left = [17]

    def faulty_loss(self: AutoEncoder, images: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            if left[0] == 0 and os.environ["RANK"] in ranks:
                fault()
            left[0] -= 1
        return loss(self, images)

    AutoEncoder.reconstruction_loss = faulty_loss  # type: ignore[assignment,method-assign]


def raise_value_error() -> None:
    raise ValueError("the labels of this rank are upside down")


def hang() -> None:
    time.sleep(1000)


def send(number: int) -> None:
    os.kill(os.getpid(), number)


RAISES = partial(at_step_17, raise_value_error, "1")
DIES = partial(at_step_17, partial(send, signal.SIGKILL), "1")
HANGS = partial(at_step_17, hang, "1")
ONE_IS_TOLD_TO_STOP = partial(at_step_17, partial(send, signal.SIGTERM), "1")
ALL_ARE_TOLD_TO_STOP = partial(at_step_17, partial(send, signal.SIGTERM), "01")


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize(
    ("fault", "statuses", "said", "saved"),
    [
        (RAISES, [1, 1], "error: rank 0: no answer from rank 1 (", 15),
        (DIES, [1, -9], "error: rank 0: no answer from rank 1 (", 15),
        (HANGS, [1, 1], "error: rank 1: hangs in hang, line ", 15),
        (ONE_IS_TOLD_TO_STOP, [143, 143], "rank 1 was sent SIGTERM", 20),
        (ALL_ARE_TOLD_TO_STOP, [143, 143], "rank 0, 1 was sent SIGTERM", 20),
    ],
)
def test_a_fault_ends_all_ranks_and_loses_only_steps_since_the_save(
    config: DistributedConfig,
    half: str,
    fault: Callable[[], None],
    statuses: list[int],
    said: str,
    saved: int,
    request: pytest.FixtureRequest,
) -> None:
    run_dir = config.output_dir / "faulty"
    ended = finish_ranks(start_ranks(half, "distributed", config, run_dir, fault))
    logs = "\n".join(path.read_text() for path in sorted(run_dir.glob("rank*.log")))
    assert ended == statuses, logs
    assert time.time() - (run_dir / LAST).stat().st_mtime < 15
    assert said in logs
    assert ("Traceback" in logs) == (fault is RAISES)  # that of its own mistake
    assert read_checkpoint(run_dir / LAST)["global_step"] == saved
    whole = whole_run(half, config, request)
    again = replace(config, ckpt_path=str(run_dir / LAST))
    for one, other in zip(
        whole, run_ranks(half, "distributed", again, run_dir), strict=True
    ):
        assert_resumed(one, other, saved)


def whole_run(
    half: str, config: DistributedConfig, request: pytest.FixtureRequest
) -> list[Ran]:
    """Return the run that no fault came into, once for all faults."""
    runs: dict[str, list[Ran]] = request.session.stash.setdefault(WHOLE_RUNS, {})
    if half not in runs:
        runs[half] = run_ranks(half, "distributed", config, config.output_dir / "whole")
    return runs[half]


WHOLE_RUNS: pytest.StashKey[dict[str, list[Ran]]] = pytest.StashKey()

OWN = ["-m", "lightning.distributed", "--devices=2"]
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m"]
LAUNCHERS = [OWN, [*TORCHRUN, "lightning.distributed"]]
LAUNCHERS += [[*TORCHRUN, "plain_pytorch.distributed"]]


def ranks_of(launcher: subprocess.Popen[bytes]) -> list[int]:
    """Return the process numbers of the ranks; a Trainer that launches is rank 0."""
    found = subprocess.run(["pgrep", "-P", str(launcher.pid)], capture_output=True)
    children = [int(number) for number in found.stdout.split()]
    return children if len(children) == 2 else [launcher.pid, *children]


@pytest.mark.slow
@pytest.mark.parametrize("command", LAUNCHERS)
@pytest.mark.parametrize("fault", ["kill 0", "kill 1", "freeze 1", "terminate group"])
def test_launchers_end_too(
    config: DistributedConfig, command: list[str], fault: str
) -> None:
    """A frozen rank takes no signal but SIGKILL, which torchrun sends after 30 s."""
    config = replace(config, max_epochs=1000, limit_train_batches=None)
    arguments = [sys.executable, *command, *config.to_arguments()]
    log = config.output_dir.with_suffix(".log")
    with log.open("wb") as file:
        process = subprocess.Popen(
            arguments, cwd=ROOT, stdout=file, stderr=file, start_new_session=True
        )
    while not [*config.output_dir.rglob("best.ckpt")]:
        assert process.poll() is None, log.read_text()
        time.sleep(0.1)
    ranks = ranks_of(process)
    begin = time.monotonic()
    match fault.split():
        case ["kill", rank]:
            os.kill(ranks[int(rank)], signal.SIGKILL)
        case ["freeze", rank]:
            os.kill(ranks[int(rank)], signal.SIGSTOP)
        case ["terminate", "group"]:
            os.killpg(process.pid, signal.SIGTERM)
    assert process.wait(60) != 0
    while any(Path(f"/proc/{rank}").exists() for rank in ranks):
        assert time.monotonic() - begin < 60
        time.sleep(0.1)
    frozen_below_torchrun = fault == "freeze 1" and command is not OWN
    assert time.monotonic() - begin < (45 if frozen_below_torchrun else 15)
    expected = {
        "kill 0": "error: rank 1: no answer from rank 0",
        "kill 1": "error: rank 0: no answer from rank 1",
        "freeze 1": "error: rank 0: no answer from rank 1",
        "terminate group": "was sent SIGTERM: all ranks end here",
    }
    assert expected[fault] in log.read_text()
    (last,) = config.output_dir.rglob("last.ckpt")
    read_checkpoint(last)
