"""Run several ranks of a lesson, as torchrun starts them, but within two seconds.

They are forked from a server that has imported torch and Lightning already.
"""

import contextlib
import importlib
import os
import pickle
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from compare.ranks import forkserver
from compare.results import read_results
from compare.run import Run
from compare.trace import trace
from shared.command import one_line_errors
from shared.options.distributed import RanksConfig
from shared.signals import exit_on_signals
from tests.parity.halves import Ran


def run_rank(
    half: str,
    lesson: str,
    config: RanksConfig,
    run_dir: Path,
    environment: dict[str, str],
    change: Callable[[], None] | None,
) -> None:
    """Run a half's main in this process, and leave its trace in the run's folder."""
    os.environ.update(environment)
    torch.set_num_threads(1)
    if change:
        change()
    rank = environment["RANK"]
    main = importlib.import_module(f"{half}.{lesson}").main
    log = run_dir / f"rank{rank}.log"
    with (
        log.open("w") as file,
        contextlib.redirect_stdout(file),
        contextlib.redirect_stderr(file),
        trace() as run,
        one_line_errors(),
    ):
        exit_on_signals()
        # Where rank 0 saves, it has to tell the others.
        main(config, run_dir if rank == "0" else run_dir / "not told")
    (run_dir / f"rank{rank}.trace").write_bytes(pickle.dumps(run))


def start_ranks(
    half: str,
    lesson: str,
    config: RanksConfig,
    run_dir: Path,
    change: Callable[[], None] | None = None,
) -> list[Any]:
    """Start `config.devices` processes of a lesson, and return them."""
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
            "TORCHELASTIC_RUN_ID": "test",  # by this they know torchrun
        }
        process = forkserver.Process(
            target=run_rank, args=(half, lesson, config, run_dir, environment, change)
        )
        process.start()
        processes.append(process)
    return processes


def finish_ranks(processes: list[Any]) -> list[int]:
    """Wait for all ranks, and return their exit statuses."""
    for process in processes:
        process.join(60)
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
    """Run a lesson with `config.devices` processes; return what each has done.

    Args:
        half: which half.
        lesson: which lesson.
        config: the options.
        run_dir: the folder of rank 0; the others are given one that is not there.
        change: called in every process before it begins.
    """
    statuses = finish_ranks(start_ranks(half, lesson, config, run_dir, change))
    logs = "\n".join(path.read_text() for path in sorted(run_dir.glob("rank*.log")))
    assert statuses == [0] * config.devices, logs
    results = read_results(run_dir)
    traces: list[Run] = [
        pickle.loads((run_dir / f"rank{rank}.trace").read_bytes())
        for rank in range(config.devices)
    ]
    return [Ran(trace, results) for trace in traces]
