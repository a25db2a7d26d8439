"""Two machines, and a cluster with SLURM, both on this one."""

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from compare.parity.results import read_results
from shared.checkpoints.resume import LAST
from shared.checkpoints.whole_files import read_checkpoint
from shared.options.distributed import DistributedConfig
from shared.options.train import TrainConfig
from tests.processes import ROOT, finish, start
from tests.rank_processes import run_ranks

pytestmark = pytest.mark.slow
HALVES = ["plain_pytorch", "lightning"]


@pytest.fixture
def config(small: TrainConfig) -> DistributedConfig:
    """Return the options of a run on two machines with one device each."""
    config = DistributedConfig(**vars(replace(small, batch_size=32)), num_nodes=2)
    return replace(config, every_n_train_steps=3)


@pytest.fixture
def port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return str(free.getsockname()[1])


def assert_as_on_one_machine(half: str, config: DistributedConfig) -> None:
    """Fail unless a run equals that of two processes that one machine has."""
    here = replace(config, devices=2, num_nodes=1)
    one_machine = run_ranks(half, "distributed", here, config.output_dir / "here")
    (run_dir,) = (config.output_dir / half / "distributed").glob("version_*")
    results = read_results(run_dir)
    assert results.keys() == one_machine[0].results.keys()
    for name, values in one_machine[0].results.items():
        assert torch.equal(results[name], values), name


@pytest.mark.parametrize("half", HALVES)
def test_two_agents_of_torchrun(
    config: DistributedConfig, half: str, port: str
) -> None:
    agents = [
        start(
            "torch.distributed.run",
            "--nnodes=2",
            f"--node-rank={rank}",
            "--nproc-per-node=1",
            "--master-addr=127.0.0.1",
            f"--master-port={port}",
            "-m",
            f"{half}.distributed",
            *replace(config, devices=1).to_arguments(),
        )
        for rank in (0, 1)
    ]
    # The one that leaves last may complain that the other has gone.
    ended = [agent.communicate(timeout=120) for agent in agents]
    assert [agent.returncode for agent in agents] == [0, 0], ended
    assert_as_on_one_machine(half, config)


def test_two_machines_of_a_trainer(config: DistributedConfig, port: str) -> None:
    machines = [
        start(
            "lightning.distributed",
            *config.to_arguments(),
            NODE_RANK=rank,
            MASTER_ADDR="127.0.0.1",
            MASTER_PORT=port,
        )
        for rank in "01"
    ]
    ended = [finish(machine) for machine in machines]
    assert [status for status, _, _ in ended] == [0, 0], ended
    assert_as_on_one_machine("lightning", config)


# As slurm's srun: a SIGTERM of its own kills the tasks, scancel's signals reach them.
SRUN = f"""#!{sys.executable}
import os, signal, subprocess, sys

tasks = []
signal.signal(signal.SIGTERM, lambda *_: [task.kill() for task in tasks])
signal.signal(signal.SIGUSR2, lambda *_: [task.terminate() for task in tasks])
open(os.path.dirname(__file__) + "/srun.pid", "w").write(str(os.getpid()))
for rank in range(int(os.environ["SLURM_NTASKS"])):
    place = dict(SLURM_PROCID=str(rank), SLURM_NODEID=str(rank), SLURM_LOCALID="0")
    tasks.append(subprocess.Popen(sys.argv[1:], env=dict(os.environ, **place)))
sys.exit(max(abs(task.wait()) for task in tasks))
"""
SCONTROL = """#!/bin/sh
case "$1" in
    show) printf '127.0.0.1\\n127.0.0.1\\n' ;;
    requeue) echo "$2" >> "$(dirname "$0")/requeued" ;;
    *) exit 1 ;;
esac
"""
SCANCEL = """#!/bin/sh
test "$*" = "--signal=TERM 4242" && kill -USR2 "$(cat "$(dirname "$0")/srun.pid")"
"""


def start_job(
    half: str, config: DistributedConfig, tmp_path: Path, port: str, restarts: int
) -> subprocess.Popen[bytes]:
    """Start a half's script as sbatch does, with the options that stand in it."""
    scripts = {"srun": SRUN, "scontrol": SCONTROL, "scancel": SCANCEL}
    for name, script in scripts.items():
        (tmp_path / name).write_text(script)
        (tmp_path / name).chmod(0o755)
    path = ROOT / half / "distributed.sbatch"
    lines = [line for line in path.read_text().splitlines() if "#SBATCH" in line]
    options = dict(line.split()[1].partition("=")[::2] for line in lines)
    assert options["--signal"].startswith("B:USR1@")
    assert "--requeue" in options
    nodes, tasks = options["--nodes"], options["--ntasks-per-node"]
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "SLURM_JOB_ID": "4242",
        "SLURM_JOB_NAME": "distributed.sbatch",
        "SLURM_JOB_NODELIST": "127.0.0.1",
        "SLURM_NODELIST": "127.0.0.1",
        "SLURM_NNODES": nodes,
        "SLURM_NTASKS": str(int(nodes) * int(tasks)),
        "SLURM_NTASKS_PER_NODE": tasks,
        "SLURM_RESTART_COUNT": str(restarts),
        "PYTHON": sys.executable,
        "PORT": port,  # of the plain half; a Trainer makes its own of the job's number
        "MASTER_PORT": port,
        "ARGS": shlex.join(config.to_arguments()),
    }
    with (tmp_path / "log").open("ab") as log:
        return subprocess.Popen(
            ["bash", path], cwd=ROOT, env=os.environ | environment, stderr=log
        )


@pytest.mark.parametrize("half", HALVES)
def test_a_job_whose_time_is_over_goes_on_when_it_is_requeued(
    config: DistributedConfig, half: str, tmp_path: Path, port: str
) -> None:
    config = replace(config, max_epochs=8, limit_train_batches=None)
    job = start_job(half, config, tmp_path, port, restarts=0)
    while not [*config.output_dir.rglob("best.ckpt")]:
        assert job.poll() is None, (tmp_path / "log").read_text()
        time.sleep(0.1)
    job.send_signal(signal.SIGUSR1)
    assert job.wait(60) == 0, (tmp_path / "log").read_text()
    assert (tmp_path / "requeued").read_text() == "4242\n"
    (run_dir,) = (config.output_dir / half / "distributed").glob("version_*")
    saved = read_checkpoint(run_dir / LAST)["global_step"]
    assert 0 < saved < 8 * 63

    again = start_job(half, config, tmp_path, port, restarts=1)
    assert again.wait(180) == 0, (tmp_path / "log").read_text()
    assert (tmp_path / "requeued").read_text() == "4242\n"
    assert_as_on_one_machine(half, config)
