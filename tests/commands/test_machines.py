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
from shared.checkpoints.whole_files import read_checkpoint
from shared.options.cluster import Config as ClusterConfig
from shared.options.train import Config as TrainConfig
from shared.runtime.command import to_arguments
from tests.processes import ROOT, finish, start
from tests.rank_processes import run_ranks

pytestmark = pytest.mark.slow
HALVES = ["plain_pytorch", "lightning"]


@pytest.fixture
def config(small: TrainConfig) -> ClusterConfig:
    """Return the options of a run on two machines with one device each."""
    options = vars(small) | {"batch_size": 32, "run_dir": small.output_dir / "run"}
    return ClusterConfig(**options, devices=1, num_nodes=2)


@pytest.fixture
def port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return str(free.getsockname()[1])


def assert_as_on_one_machine(half: str, config: ClusterConfig) -> None:
    """Fail unless a run equals that of two processes that one machine has."""
    run_dir = config.output_dir / "here"
    here = replace(config, devices=2, num_nodes=1, run_dir=run_dir)
    one_machine = run_ranks(half, "cluster", here, run_dir)[0].results
    assert config.run_dir
    results = read_results(config.run_dir)
    assert results.keys() == one_machine.keys()
    for name, values in one_machine.items():
        assert torch.equal(results[name], values), name


@pytest.mark.parametrize("half", HALVES)
def test_two_agents_of_torchrun(config: ClusterConfig, half: str, port: str) -> None:
    agents = [
        start(
            "torch.distributed.run",
            "--nnodes=2",
            f"--node-rank={rank}",
            "--nproc-per-node=1",
            "--master-addr=127.0.0.1",
            f"--master-port={port}",
            "-m",
            f"{half}.cluster",
            *to_arguments(config),
        )
        for rank in (0, 1)
    ]
    # The one that leaves last may complain that the other has gone.
    ended = [agent.communicate(timeout=120) for agent in agents]
    assert [agent.returncode for agent in agents] == [0, 0], ended
    assert_as_on_one_machine(half, config)


def test_two_machines_of_a_trainer(config: ClusterConfig, port: str) -> None:
    machines = [
        start(
            "lightning.cluster",
            *to_arguments(config),
            NODE_RANK=rank,
            MASTER_ADDR="127.0.0.1",
            MASTER_PORT=port,
        )
        for rank in "01"
    ]
    ended = [finish(machine) for machine in machines]
    assert [status for status, _, _ in ended] == [0, 0], ended
    assert_as_on_one_machine("lightning", config)


# As slurm's srun at the end of a job: SIGTERM to all tasks, and SIGKILL later.
SRUN = """#!/usr/bin/env python3
import os, signal, subprocess, sys, time

def end(*_):
    for task in tasks:
        task.terminate()
    time.sleep(10)
    for task in tasks:
        task.kill()

tasks = []
signal.signal(signal.SIGTERM, end)
pid = os.path.dirname(__file__) + "/srun.pid"
open(pid, "w").write(str(os.getpid()))
option, *command = sys.argv[1:]
assert option == "--kill-on-bad-exit=1"
for rank in range(int(os.environ["SLURM_NTASKS"])):
    place = dict(SLURM_PROCID=str(rank), SLURM_NODEID=str(rank), SLURM_LOCALID="0")
    tasks.append(subprocess.Popen(command, env=dict(os.environ, **place)))
status = max(abs(task.wait()) for task in tasks)
os.remove(pid)
sys.exit(status)
"""
SCONTROL = """#!/bin/sh
here=$(dirname "$0")
case "$1" in
    show) printf '127.0.0.1\\n127.0.0.1\\n' ;;
    requeue)
        echo "$2" >> "$here/requeued"
        kill "$(cat "$here/srun.pid")"
        while test -e "$here/srun.pid"; do sleep 0.1; done ;;
    *) exit 1 ;;
esac
"""


def start_job(
    half: str, config: ClusterConfig, tmp_path: Path, port: str, restarts: int
) -> subprocess.Popen[bytes]:
    """Start a half's script as sbatch does, with the options that stand in it."""
    for name, script in {"srun": SRUN, "scontrol": SCONTROL}.items():
        (tmp_path / name).write_text(script)
        (tmp_path / name).chmod(0o755)
    path = ROOT / half / "cluster.sbatch"
    lines = [line for line in path.read_text().splitlines() if "#SBATCH" in line]
    options = dict(line.split()[1].partition("=")[::2] for line in lines)
    assert options["--signal"].startswith("B:USR1@")
    assert "--requeue" in options
    nodes, tasks = options["--nodes"], options["--ntasks-per-node"]
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "SLURM_JOB_ID": "4242",
        "SLURM_JOB_NAME": "cluster.sbatch",
        "SLURM_JOB_NODELIST": "127.0.0.1",
        "SLURM_NODELIST": "127.0.0.1",
        "SLURM_NNODES": nodes,
        "SLURM_NTASKS": str(int(nodes) * int(tasks)),
        "SLURM_NTASKS_PER_NODE": tasks,
        "SLURM_RESTART_COUNT": str(restarts),
        "PYTHON": sys.executable,
        "PORT": port,  # of the plain half; a Trainer makes its own of the job's number
        "MASTER_PORT": port,
        "ARGS": shlex.join(to_arguments(config)),
    }
    with (tmp_path / "log").open("ab") as log:
        return subprocess.Popen(
            ["bash", path], cwd=ROOT, env=os.environ | environment, stderr=log
        )


@pytest.mark.parametrize("half", HALVES)
def test_a_job_whose_time_is_over_goes_on_when_it_is_requeued(
    config: ClusterConfig, half: str, tmp_path: Path, port: str
) -> None:
    config = replace(config, max_epochs=20, limit_train_batches=None)
    assert config.run_dir
    job = start_job(half, config, tmp_path, port, restarts=0)
    while not [*config.run_dir.rglob("last.ckpt")]:
        assert job.poll() is None, (tmp_path / "log").read_text()
        time.sleep(0.1)
    job.send_signal(signal.SIGUSR1)
    assert job.wait(60) == 0, (tmp_path / "log").read_text()
    assert (tmp_path / "requeued").read_text() == "4242\n"
    last = config.run_dir / "checkpoints" / "last.ckpt"
    saved = read_checkpoint(last)["global_step"]
    assert 0 < saved < 20 * 63
    assert saved % 63 == 0

    again = start_job(half, config, tmp_path, port, restarts=1)
    assert again.wait(180) == 0, (tmp_path / "log").read_text()
    assert (tmp_path / "requeued").read_text() == "4242\n"
    assert_as_on_one_machine(half, config)
