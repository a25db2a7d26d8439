"""Run several ranks of a lesson, and record what each of them does."""

import pickle
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import compare.bench.processes
from compare.parity.results import read_results
from compare.trace.command import trace
from compare.trace.run import Run
from shared.options.distributed import Config as RanksConfig
from tests.parity.halves import Ran


@contextmanager
def traced(path: Path, change: Callable[[], None] | None) -> Iterator[None]:
    """Leave the trace of this rank in a file, unless it fails."""
    if change:
        change()
    with trace() as run:
        yield
    path.with_suffix(".trace").write_bytes(pickle.dumps(run))


def start_ranks(
    half: str,
    lesson: str,
    config: RanksConfig,
    run_dir: Path,
    change: Callable[[], None] | None = None,
) -> list[Any]:
    """Start `config.devices` processes of a lesson; `change` comes first in each."""
    around = partial(traced, change=change)
    return compare.bench.processes.start_ranks(half, lesson, config, run_dir, around)


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
