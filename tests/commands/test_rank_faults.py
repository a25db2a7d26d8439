"""A rank that fails ends the others, soon; torchrun starts them again if it may."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from compare.parity.results import read_results
from shared.checkpoints.whole_files import read_checkpoint
from shared.options.cluster import Config as ClusterConfig
from shared.options.train import Config as TrainConfig
from shared.runtime.command import to_arguments
from tests.processes import ROOT
from tests.rank_processes import run_ranks

pytestmark = pytest.mark.slow
TORCHRUN = ["torch.distributed.run", "--standalone", "--nproc-per-node=2"]


@pytest.fixture
def config(small: TrainConfig) -> ClusterConfig:
    options = vars(small) | {"batch_size": 32, "run_dir": small.output_dir / "run"}
    options |= {"max_epochs": 1000, "limit_train_batches": None}
    return ClusterConfig(**options, devices=2, timeout=10)


def start_and_wait_for_a_checkpoint(
    command: list[str], config: ClusterConfig
) -> tuple[subprocess.Popen[bytes], Path]:
    """Return the launcher, and the file of what it and its ranks say."""
    assert config.run_dir
    log = config.output_dir.with_suffix(".log")
    with log.open("wb") as file:
        launcher = subprocess.Popen(
            [sys.executable, "-m", *command, *to_arguments(config)],
            cwd=ROOT,
            # Or ranks that are started again meet at the addresses of the old ones.
            env={**os.environ, "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"},
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    while not [*config.run_dir.rglob("last.ckpt")]:
        assert launcher.poll() is None, log.read_text()
        time.sleep(0.1)
    return launcher, log


def ranks_of(launcher: subprocess.Popen[bytes]) -> list[int]:
    """Return the process numbers of the ranks; a Trainer that launches is rank 0."""
    found = subprocess.run(["pgrep", "-P", str(launcher.pid)], capture_output=True)
    children = [int(number) for number in found.stdout.split()]
    return children if len(children) == 2 else [launcher.pid, *children]


OWN = ["lightning.cluster"]
BY_HAND = [*TORCHRUN, "-m", "plain_pytorch.cluster"]
LIGHTNING = [*TORCHRUN, "-m", "lightning.cluster"]


@pytest.mark.parametrize(
    ("command", "fault", "said"),
    [
        (BY_HAND, "kill 0", "error: rank 1: no answer from rank 0"),
        (BY_HAND, "kill 1", "error: rank 0: no answer from rank 1"),
        (BY_HAND, "freeze 1", "error: rank 0: no answer from rank 1"),
        (BY_HAND, "terminate", ""),
        (LIGHTNING, "kill 0", "error: rank 1: no answer from rank 0"),
        (LIGHTNING, "kill 1", "error: rank 0: no answer from rank 1"),
        (LIGHTNING, "terminate", ""),
        (OWN, "kill 0", "error: rank 1: no answer from rank 0"),
        (OWN, "kill 1", ""),  # the Trainer kills rank 0 before it has noticed
    ],
)
def test_all_end(
    config: ClusterConfig, command: list[str], fault: str, said: str
) -> None:
    launcher, log = start_and_wait_for_a_checkpoint(command, config)
    ranks = ranks_of(launcher)
    begin = time.monotonic()
    match fault.split():
        case ["kill", rank]:
            os.kill(ranks[int(rank)], signal.SIGKILL)
        case ["freeze", rank]:  # it takes no signal but SIGKILL
            os.kill(ranks[int(rank)], signal.SIGSTOP)
        case ["terminate"]:  # all, as Ctrl-C in a terminal would do
            for process in (launcher.pid, *ranks):
                os.kill(process, signal.SIGTERM)
    assert launcher.wait(90) != 0
    while any(Path(f"/proc/{rank}").exists() for rank in ranks):
        assert time.monotonic() - begin < 90
        time.sleep(0.1)
    assert said in log.read_text()
    assert config.run_dir
    read_checkpoint(config.run_dir / "checkpoints" / "last.ckpt")


@pytest.mark.parametrize("half", ["plain_pytorch", "lightning"])
def test_torchrun_starts_all_ranks_again(config: ClusterConfig, half: str) -> None:
    config = replace(config, max_epochs=20)
    command = [*TORCHRUN, "--max-restarts=1", "-m", f"{half}.cluster"]
    launcher, log = start_and_wait_for_a_checkpoint(command, config)
    os.kill(ranks_of(launcher)[1], signal.SIGKILL)
    assert launcher.wait(120) == 0, log.read_text()
    run_dir = config.output_dir / "whole"
    config = replace(config, run_dir=run_dir)
    whole = run_ranks(half, "cluster", config, run_dir)[0].results
    results = read_results(config.output_dir / "run")
    assert results.keys() == whole.keys()
    for name, values in whole.items():
        assert torch.equal(results[name], values), name
