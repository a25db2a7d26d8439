"""Run a lesson in several processes that need not import first.

torchrun starts its processes from nothing: ten seconds of imports for each run. These
are forked from a process that has imported everything, and find in their environment
what torchrun would have put there.
"""

import importlib
import os
import socket
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields
from multiprocessing import connection, get_context
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from compare.parity.results import read_results
from shared.options.distributed import Config as RanksConfig
from shared.options.train import Config as TrainConfig
from shared.runtime.command import user_errors
from shared.runtime.errors import UserError
from shared.runtime.signals import exit_on_signals

GRACE = 3
"""Seconds in which processes have to end that are told to."""

Around = Callable[[Path], AbstractContextManager[object]]
"""Entered around a rank's training, with a path for what it writes, but its suffix."""

forkserver: Any = get_context("forkserver")
forkserver.set_forkserver_preload(["compare.bench.warm"])


def run_rank(
    half: str,
    lesson: str,
    config: RanksConfig,
    run_dir: Path,
    environment: dict[str, str],
    around: Around,
) -> None:
    """Run a half's main in this process, as one rank of several."""
    exit_on_signals()
    os.environ.update(environment)
    torch.set_num_threads(config.threads)
    path = run_dir / f"rank{environment['RANK']}"
    with path.with_suffix(".log").open("w") as log:
        os.dup2(log.fileno(), sys.stdout.fileno())
        os.dup2(log.fileno(), sys.stderr.fileno())
    with user_errors(), around(path):
        main = importlib.import_module(f"{half}.{lesson}").main
        # Without --run-dir, rank 0 has to tell the others where it saves.
        told = path.name == "rank0" or config.run_dir
        main(config, run_dir if told else run_dir / "not told")


def start_ranks(
    half: str,
    lesson: str,
    config: RanksConfig,
    run_dir: Path,
    around: Around = nullcontext,
) -> list[Any]:
    """Start `config.devices` processes of a lesson, with logs in the run's folder.

    Args:
        half: which half.
        lesson: which lesson.
        config: the options.
        run_dir: the folder of rank 0; the others are given one that is not there.
        around: called in every process, with a path for what it writes.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    processes = []
    for rank in range(config.devices):
        environment = {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(config.devices),
            "LOCAL_WORLD_SIZE": str(config.devices),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "TORCHELASTIC_RUN_ID": "compare",  # by this they know torchrun
            "OMP_NUM_THREADS": str(config.threads),  # or a Trainer takes all cores
        }
        arguments = (half, lesson, config, run_dir, environment, around)
        processes.append(forkserver.Process(target=run_rank, args=arguments))
        processes[-1].start()
    return processes


def run_ranks(
    half: str, config: RanksConfig, run_dir: Path, around: Around = nullcontext
) -> None:
    """Train in the lesson `distributed`.

    Raises:
        UserError: a rank has failed; the others are ended.
    """
    processes = start_ranks(half, "distributed", config, run_dir, around)
    ranks = {process.sentinel: process for process in processes}
    try:
        while ranks:
            for sentinel in connection.wait(ranks):
                process = ranks.pop(sentinel)
                process.join()
                if process.exitcode:
                    log = run_dir / f"rank{processes.index(process)}.log"
                    *_, why = log.read_text().splitlines() or ["no word"]
                    raise UserError(f"{why.removeprefix('error: ')} (see {log})")
    finally:
        for process in ranks.values():  # it has had Ctrl-C, too
            process.terminate()
        for process in ranks.values():
            process.join(GRACE)
            process.kill()
            process.join()


class Lab:
    """Makes runs of the lesson, each in a folder of its own.

    Args:
        config: what all runs have in common.
        folder: the folder of the runs.
    """

    def __init__(self, config: TrainConfig, folder: Path) -> None:
        self.config = config
        self.folder = folder

    def train(
        self,
        name: str,
        devices: int,
        batch_size: int,
        half: str = "plain_pytorch",
        around: Around = nullcontext,
        **changes: Any,
    ) -> dict[str, Tensor]:
        """Train in the folder `name`; return the numbers that the run has left."""
        common = {f.name: getattr(self.config, f.name) for f in fields(TrainConfig)}
        options = common | {"devices": devices, "batch_size": batch_size} | changes
        start = time.perf_counter()
        run_ranks(half, RanksConfig(**options), self.folder / name, around)
        print(f"{name}: {time.perf_counter() - start:.1f} s", file=sys.stderr)
        return read_results(self.folder / name)
