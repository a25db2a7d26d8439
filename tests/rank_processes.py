"""Run several ranks of a lesson, and record what each of them does.

torchrun starts its processes from nothing: ten seconds of imports for each run. These
are forked from a process that has imported everything, and find in their environment
what torchrun would have put there.
"""

import importlib
import os
import pickle
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from compare.parity.results import read_results
from compare.trace.command import trace
from compare.trace.run import Run
from shared.model import AutoEncoder
from shared.options.distributed import Config as RanksConfig
from shared.runtime.command import user_errors
from shared.runtime.signals import exit_on_signals
from tests.parity.halves import Ran
from tests.processes import forkserver


def add_layer(layer: type[nn.Module], *sizes: Any) -> None:
    """Put one more layer into the shared model of this process."""
    init = AutoEncoder.__init__

    def init_with_layer(self: AutoEncoder, *arguments: Any) -> None:
        init(self, *arguments)
        self.encoder.insert(2, layer(*sizes))

    AutoEncoder.__init__ = init_with_layer  # type: ignore[assignment,method-assign]


def with_dropout() -> None:
    """Put dropout into the shared model of this process."""
    add_layer(nn.Dropout, 0.2)


def run_rank(
    half: str,
    lesson: str,
    config: RanksConfig,
    run_dir: Path,
    environment: dict[str, str],
    change: Callable[[], None] | None,
) -> None:
    """Be one rank of several; leave a log, and a trace unless the rank fails."""
    exit_on_signals()
    os.environ.update(environment)
    torch.set_num_threads(config.threads)
    path = run_dir / f"rank{environment['RANK']}"
    with path.with_suffix(".log").open("w") as log:
        os.dup2(log.fileno(), sys.stdout.fileno())
        os.dup2(log.fileno(), sys.stderr.fileno())
    with user_errors():
        if change:
            change()
        main = importlib.import_module(f"{half}.{lesson}").main
        # Without --run-dir, rank 0 has to tell the others where it saves.
        told = path.name == "rank0" or config.run_dir
        with trace() as run:
            main(config, run_dir if told else run_dir / "not told")
        path.with_suffix(".trace").write_bytes(pickle.dumps(run))


def start_ranks(
    half: str,
    lesson: str,
    config: RanksConfig,
    run_dir: Path,
    change: Callable[[], None] | None = None,
) -> list[Any]:
    """Start `config.devices` processes of a lesson; `change` comes first in each.

    Args:
        half: the name of its folder.
        lesson: the name of the lesson.
        config: the options.
        run_dir: the folder of rank 0; the others are given one that is not there.
        change: a function of a module, which plants a fault, for example.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    processes = []
    for rank in range(config.devices):
        environment = {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(config.devices),
            "LOCAL_WORLD_SIZE": str(config.devices),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "TORCHELASTIC_RUN_ID": "tests",  # by this a Trainer knows torchrun
            "OMP_NUM_THREADS": str(config.threads),  # or a Trainer takes all cores
        }
        arguments = (half, lesson, config, run_dir, environment, change)
        processes.append(forkserver.Process(target=run_rank, args=arguments))
        processes[-1].start()
    return processes


def finish_ranks(processes: list[Any]) -> list[int]:
    """Wait for all ranks, and return their exit statuses.

    As torchrun does, end those that outlive for long one that has failed.
    """
    deadline = time.monotonic() + 120
    while any(process.is_alive() for process in processes):
        if any(process.exitcode for process in processes):
            deadline = min(deadline, time.monotonic() + 20)
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)
    for process in processes:
        process.kill()
        process.join()
    return [process.exitcode for process in processes]


def run_ranks(
    half: str,
    lesson: str,
    config: RanksConfig,
    run_dir: Path,
    change: Callable[[], None] | None = None,
) -> list[Ran]:
    """Run a lesson with `config.devices` processes; return what each has done."""
    statuses = finish_ranks(start_ranks(half, lesson, config, run_dir, change))
    logs = "\n".join(path.read_text() for path in sorted(run_dir.glob("rank*.log")))
    assert statuses == [0] * config.devices, logs
    results = read_results(run_dir)
    traces: list[Run] = [
        pickle.loads((run_dir / f"rank{rank}.trace").read_bytes())
        for rank in range(config.devices)
    ]
    return [Ran(trace, results) for trace in traces]
