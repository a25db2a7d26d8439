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

import torch
from tabulate import tabulate
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch._C._autograd import DeviceType
from torch.profiler import profile

from compare.ranks import Lab
from shared.command import one_line_errors
from shared.config import Count, Parser, TrainConfig
from shared.data import MNISTData
from shared.errors import UsageError, UserError
from shared.run_dir import new_run_dir
from shared.signals import exit_on_signals

HALVES = ("plain_pytorch", "lightning")
WARM_UP = 10
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
            raise UsageError(
                "--batch-size must be even: two processes share the images"
            )


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


def cpu_name() -> str:
    """Return what this machine's processor calls itself."""
    info = Path("/proc/cpuinfo")
    names = (
        re.findall(r"model name\s*: (.+)", info.read_text()) if info.exists() else []
    )
    return names[0] if names else platform.processor()


def main() -> None:
    """Make the runs and print the table."""
    config = Parser("python -m compare.scaling", ScalingConfig).parse_config()
    config = replace(config, limit_val_batches=1, limit_test_batches=1)
    data = MNISTData(config)
    data.prepare_data()
    data.setup("fit")
    size = config.batch_size
    most = torch.cuda.device_count() if config.use_cuda else 2
    setups = [way for way in ((1, size), (2, size // 2), (2, size)) if way[0] <= most]
    batches = len(data.train_set) // (size * setups[-1][0])
    if min(batches, config.limit_train_batches or batches) < 3 * WARM_UP:
        raise UserError(f"too few batches to time: a run needs {3 * WARM_UP} an epoch")
    lab = Lab(config, new_run_dir(config.output_dir / "compare" / "scaling"))
    where = torch.cuda.get_device_name() if config.use_cuda else cpu_name()
    print(
        f"{data.dataset_name}, {config.rounds} rounds, {config.threads} thread(s) a"
        f" process, on {where}, {os.cpu_count()} cores; torch {torch.__version__},"
        f" Python {platform.python_version()}",
        flush=True,
    )
    ways = [(half, *setup) for setup in setups for half in HALVES]
    times: dict[tuple[str, int, int], list[float]] = {way: [] for way in ways}
    for number in range(config.rounds):
        for half, devices, batch_size in ways:
            name = f"{half}, {devices}x{batch_size}, round {number}"
            lab.train(name, devices, batch_size, half)
            times[half, devices, batch_size] += step_times(lab.folder / name)
    rows = []
    for half, devices, batch_size in ways:
        name = f"{half}, {devices}x{batch_size}, profiled"
        limit = min(PROFILED, config.limit_train_batches or PROFILED)
        changes = {"max_epochs": 1, "limit_train_batches": limit}
        lab.train(name, devices, batch_size, half, profiled, **changes)
        shares = json.loads((lab.folder / name / "rank0.json").read_text())
        taken = times[half, devices, batch_size]
        low, middle, high = quantiles(taken, n=4)
        rate = devices * batch_size / middle
        gain = rate / (size / median(times[half, 1, size]))
        messages, busy = (f"{share:.0%}" for share in shares)
        shown = (f"{x:.2f}" for x in (middle, low, high))
        setup = f"{devices}x{batch_size}"
        row = (setup, half, *shown, len(taken), f"{1e3 * rate:.0f}", f"{gain:.2f}")
        rows.append((*row, messages, *([busy] if config.use_cuda else [])))
    headers = ["", "", "ms a step", "lower", "upper", "n", "images/s", "times 1x"]
    headers += ["messages", *(["GPU busy"] if config.use_cuda else [])]
    print(tabulate(rows, headers, disable_numparse=True))


if __name__ == "__main__":
    exit_on_signals()
    with one_line_errors():
        main()
