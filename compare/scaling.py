"""Time a step of one process and of two, in both halves.

    python -m compare.scaling

Strong scaling: two processes share the batch of one. Weak scaling: each has a batch of
that size. The halves and the numbers of processes take turns, ROUNDS times each; a
step's time is that between two points of the train_loss curve. Then each is run once
more under torch.profiler, for what a step spends on messages. On GPUs, of which there
have to be two for two processes, it prints how busy the first one is, too.
"""

import json
import os
import platform
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple

import torch
from tabulate import tabulate
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch._C._autograd import DeviceType
from torch.profiler import profile

from compare.machine import cpu_name
from compare.ranks import Lab
from shared.command import one_line_errors
from shared.config import LOG_EVERY_N_STEPS, Count, Parser, TrainConfig
from shared.data import MNISTData
from shared.errors import UsageError, UserError
from shared.run_dir import new_run_dir
from shared.signals import exit_on_signals

HALVES = ("plain_pytorch", "lightning")
WARM_UP = 5
"""Steps that are not counted, at the start of each run."""
PROFILED = 100
"""Steps under the profiler, at most."""
MESSAGE = re.compile(r"gloo:|nccl(Dev)?Kernel")


@dataclass(frozen=True)
class ScalingConfig(TrainConfig):
    """The options of `compare.scaling`."""

    batch_size: Count = 64
    """Images a step of one process; two share them, or have as many each."""
    max_epochs: Count = 1
    """How many times to go through the training images in each run."""
    limit_train_batches: Count | None = 300
    """Train on this many batches an epoch."""
    rounds: Count = 3
    """How often to run each half with each number of processes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch_size % 2:
            raise UsageError("--batch-size must be even: two processes share a batch")


def step_times(run_dir: Path) -> list[float]:
    """Return the milliseconds of a step, means over those between two points."""
    events = EventAccumulator(str(run_dir), size_guidance={"scalars": 0}).Reload()
    epochs = {event.step: event.value for event in events.Scalars("epoch")}
    return [
        (after.wall_time - before.wall_time) / (after.step - before.step) * 1e3
        for before, after in pairwise(events.Scalars("train_loss"))
        if before.step >= WARM_UP and epochs[before.step] == epochs[after.step]
    ]


def covered(spans: Iterable[tuple[float, float]], begin: float, end: float) -> float:
    """Return which share of the time from `begin` to `end` lies in a span or more."""
    total = 0.0
    at = begin
    for start, stop in sorted(spans):
        total += max(0.0, min(stop, end) - max(start, at))
        at = max(at, min(stop, end))
    return total / (end - begin)


@contextmanager
def profiled(path: Path) -> Iterator[None]:
    """Write down which share of this rank's steps is messages, and the GPU's work."""
    with profile() as profiler:
        yield
    spans = [
        (event.name, event.device_type, (event.time_range.start, event.time_range.end))
        for event in profiler.events()
    ]
    steps = sorted(span for name, _, span in spans if name.startswith("Optimizer.step"))
    begin, end = steps[WARM_UP][0], steps[-1][0]
    messages = [span for name, _, span in spans if MESSAGE.match(name)]
    on_gpu = [span for _, device, span in spans if device == DeviceType.CUDA]
    shares = [covered(spans, begin, end) for spans in (messages, on_gpu)]
    path.with_suffix(".json").write_text(json.dumps(shares))


class Way(NamedTuple):
    """One way to train: the half, how many processes, and the images of each a step."""

    half: str
    devices: int
    batch_size: int

    def __str__(self) -> str:
        return f"{self.half}, {self.devices}x{self.batch_size}"


def choose_ways(config: ScalingConfig) -> list[Way]:
    """Return the ways that take turns: as many processes as there are GPUs, at most 2.

    Raises:
        UserError: an epoch of the longest step has too few batches to time.
    """
    data = MNISTData(config)
    data.prepare_data()
    data.setup("fit")
    size = config.batch_size
    most = torch.cuda.device_count() if config.use_cuda else 2
    setups = [way for way in ((1, size), (2, size // 2), (2, size)) if way[0] <= most]
    batches = len(data.train_set) // (size * setups[-1][0])
    needed = 3 * LOG_EVERY_N_STEPS  # three points of the curve: two times
    if min(batches, config.limit_train_batches or batches) < needed:
        raise UserError(f"too few batches to time: a run needs {needed} an epoch")
    where = torch.cuda.get_device_name() if config.use_cuda else cpu_name()
    print(
        f"{data.dataset_name}, {config.rounds} rounds, {config.threads} thread(s) a"
        f" process, on {where}, {os.cpu_count()} cores; torch {torch.__version__},"
        f" Python {platform.python_version()}",
        flush=True,
    )
    return [Way(half, *setup) for setup in setups for half in HALVES]


def measure(lab: Lab, ways: list[Way], rounds: int) -> dict[Way, list[float]]:
    """Return the milliseconds of a step of each way, from runs that take turns."""
    times: dict[Way, list[float]] = {way: [] for way in ways}
    for number in range(rounds):
        for way in ways:
            name = f"{way}, round {number}"
            lab.train(name, way.devices, way.batch_size, way.half)
            times[way] += step_times(lab.folder / name)
    return times


def measure_shares(lab: Lab, way: Way) -> list[str]:
    """Return which share of a step is messages, and how long a GPU is busy in it."""
    name = f"{way}, profiled"
    limit = min(PROFILED, lab.config.limit_train_batches or PROFILED)
    changes = {"max_epochs": 1, "limit_train_batches": limit}
    lab.train(name, way.devices, way.batch_size, way.half, profiled, **changes)
    shares = json.loads((lab.folder / name / "rank0.json").read_text())
    return [f"{share:.0%}" for share in shares]


def main() -> None:
    """Make the runs and print the table."""
    config = Parser("python -m compare.scaling", ScalingConfig).parse_config()
    config = replace(config, limit_val_batches=1, limit_test_batches=1)
    ways = choose_ways(config)
    lab = Lab(config, new_run_dir(config.output_dir / "compare" / "scaling"))
    times = measure(lab, ways, config.rounds)
    rows = []
    for way in ways:
        low, middle, high = quantiles(times[way], n=4)
        alone = median(times[Way(way.half, 1, config.batch_size)])
        rate = way.devices * way.batch_size / middle
        shown = [f"{x:.2f}" for x in (middle, low, high)]
        gain = f"{rate / (config.batch_size / alone):.2f}"
        row = [f"{way.devices}x{way.batch_size}", way.half, *shown, len(times[way])]
        rows.append([*row, f"{1e3 * rate:.0f}", gain, *measure_shares(lab, way)])
    headers = ["", "", "ms a step", "lower", "upper", "n", "images/s", "times 1x"]
    headers += ["messages", "GPU busy"]
    print(tabulate(rows, headers, disable_numparse=True))


if __name__ == "__main__":
    exit_on_signals()
    with one_line_errors():
        main()
