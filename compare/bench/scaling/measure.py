"""The runs of `compare.bench.scaling`: which there are, and what is taken from them."""

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch._C._autograd import DeviceType
from torch.profiler import profile

from compare.bench.processes import Lab
from shared.options.train import LOG_EVERY_N_STEPS, TrainConfig
from shared.runtime.errors import UserError

HALVES = ("plain_pytorch", "lightning")
WARM_UP = 5
"""Steps that are not counted, at the start of each run."""
PROFILED = 100
"""Steps under the profiler, at most."""
MESSAGE = re.compile(r"gloo:|nccl(Dev)?Kernel")


class Way(NamedTuple):
    """One way to train: the half, how many processes, and the images of each a step."""

    half: str
    devices: int
    batch_size: int

    def __str__(self) -> str:
        return f"{self.half}, {self.devices}x{self.batch_size}"


def choose_ways(config: TrainConfig, images: int) -> tuple[list[Way], int]:
    """Return the ways that take turns, and how many steps an epoch of each has.

    There are as many processes as there are GPUs, at most 2.

    Raises:
        UserError: an epoch of the longest step has too few batches to time.
    """
    size = config.batch_size
    most = torch.cuda.device_count() if config.use_cuda else 2
    setups = [way for way in ((1, size), (2, size // 2), (2, size)) if way[0] <= most]
    batches = images // (size * setups[-1][0])
    steps = min(batches, config.limit_train_batches or batches)
    needed = 3 * LOG_EVERY_N_STEPS  # three points of the curve: two times
    if steps < needed:
        raise UserError(f"too few batches to time: a run needs {needed} an epoch")
    return [Way(half, *setup) for setup in setups for half in HALVES], steps


def measure(lab: Lab, ways: list[Way], rounds: int) -> list[dict[str, Any]]:
    """Return the milliseconds of a step of each way, from runs that take turns.

    And, from one more run, the shares that `profiled` writes down.
    """
    times: dict[Way, list[float]] = {way: [] for way in ways}
    for number in range(rounds):
        for way in ways:
            name = f"{way}, round {number}"
            lab.train(name, way.devices, way.batch_size, way.half)
            times[way] += [round(ms, 3) for ms in step_times(lab.folder / name)]
    return [
        way._asdict() | {"ms": times[way]} | measure_shares(lab, way) for way in ways
    ]


def step_times(run_dir: Path) -> list[float]:
    """Return the milliseconds of a step, means over those between two points."""
    events = EventAccumulator(str(run_dir), size_guidance={"scalars": 0}).Reload()
    epochs = {event.step: event.value for event in events.Scalars("epoch")}
    return [
        (after.wall_time - before.wall_time) / (after.step - before.step) * 1e3
        for before, after in pairwise(events.Scalars("train_loss"))
        if before.step >= WARM_UP and epochs[before.step] == epochs[after.step]
    ]


def measure_shares(lab: Lab, way: Way) -> dict[str, float]:
    """Return which share of a step is messages, and how long a GPU is busy in it."""
    name = f"{way}, profiled"
    limit = min(PROFILED, lab.config.limit_train_batches or PROFILED)
    changes = {"max_epochs": 1, "limit_train_batches": limit}
    lab.train(name, way.devices, way.batch_size, way.half, profiled, **changes)
    return json.loads((lab.folder / name / "rank0.json").read_text())


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
    shares = {
        "messages": [span for name, _, span in spans if MESSAGE.match(name)],
        "gpu_busy": [span for _, device, span in spans if device == DeviceType.CUDA],
    }
    text = json.dumps({of: covered(part, begin, end) for of, part in shares.items()})
    path.with_suffix(".json").write_text(text)


def covered(spans: Iterable[tuple[float, float]], begin: float, end: float) -> float:
    """Return which share of the time from `begin` to `end` lies in a span or more."""
    total = 0.0
    at = begin
    for start, stop in sorted(spans):
        total += max(0.0, min(stop, end) - max(start, at))
        at = max(at, min(stop, end))
    return total / (end - begin)
