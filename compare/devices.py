"""Train with one process and with several, and show what that changes.

    python -m compare.devices

Four tables of the lesson `distributed`, with the numbers of runs that it makes:

- the same images a step, by one process and by two
- twice the images a step, with three learning rates
- a validation that several processes share, some of whose images count twice
- `sync_dist=True` forgotten: what each rank takes for the validation loss
"""

import platform
import statistics
from collections import Counter
from contextlib import AbstractContextManager
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Literal

import torch
from tabulate import tabulate
from torch import Tensor

from compare.ranks import Lab
from compare.run import read_trace
from compare.shards import compare_samplers, forget_sync_dist
from compare.trace import trace_to
from shared.command import one_line_errors
from shared.config import Count, Parser, TrainConfig
from shared.data import MNISTData
from shared.errors import UsageError
from shared.model import AutoEncoder
from shared.run_dir import new_run_dir
from shared.signals import exit_on_signals


@dataclass(frozen=True)
class DevicesConfig(TrainConfig):
    """The options of `compare.devices`."""

    dataset: Literal["auto", "mnist", "mnist-5k", "fashion-mnist"] = "mnist-5k"
    """Images to learn; auto is mnist where it can be had, otherwise mnist-5k."""
    max_epochs: Count = 10
    """How many times to go through the training images."""
    accelerator: Literal["auto", "cpu", "cuda"] = "cpu"
    """Where to compute; cuda needs three GPUs, one for each process; auto is cuda where
    there is a GPU."""
    batch_size: Count = 64
    """Images a step of one process; two share them, or have as many each."""
    seeds: Count = 3
    """How often to train with each learning rate, from --seed upwards."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch_size % 2:
            raise UsageError("--batch-size must be even: two processes share a batch")


def traced(path: Path) -> AbstractContextManager[None]:
    """Record every step of this rank."""
    return trace_to(path.with_suffix(".trace"), [], Counter())


def compare_sums(lab: Lab) -> None:
    """Print where one process and two that share its batches part."""
    batch_size = lab.config.batch_size
    one, two = f"1x{batch_size}", f"2x{batch_size // 2}"
    alone = lab.train(one, 1, batch_size, around=traced)
    shared = lab.train(two, 2, batch_size // 2, around=traced)
    files = one + "/rank0", two + "/rank0", two + "/rank1"
    steps = [read_trace(lab.folder / f"{name}.trace").steps for name in files]
    losses = torch.tensor([[step.loss for step in rank] for rank in steps]).squeeze(2)
    mean_losses = losses[1:].sum(0) / 2  # in float32, as the lesson does it
    differences = (losses[0] - mean_losses).abs()
    weights = [[step.weights.hash for step in rank] for rank in steps[:2]]
    same_weights = [a == b for a, b in zip(*weights, strict=True)]
    rows = [
        ("steps", len(same_weights)),
        ("with another train_loss", int((differences > 0).sum())),
        ("first of them", first(differences == 0)),
        ("first step that gives other weights", first(same_weights)),
        ("largest difference of a train_loss", f"{differences.max():.1e}"),
    ]
    by = max((alone[k] - shared[k]).abs().max() for k in AutoEncoder().state_dict())
    rows.append(("largest difference of a weight, after the last", f"{by:.1e}"))
    for name, results in ((one, alone), (two, shared)):
        rows.append((f"val_loss of {name}", f"{results['val_loss'][-1, 1]:.9f}"))
    print(f"\n{one} and {two}: the same images a step, summed in another order\n")
    print(tabulate(rows, disable_numparse=True, colalign=("left", "right")), flush=True)


def first(same: Tensor | list[bool]) -> int | str:
    """Return the first step that is not the same."""
    return next((step for step, one in enumerate(same) if not one), "none")


def compare_learning_rates(lab: Lab, seeds: int) -> None:
    """Print what twice the images a step do to the loss, with three learning rates."""
    size, rate = lab.config.batch_size, lab.config.learning_rate
    ways = {
        f"1x{size}": (1, 1.0),
        f"2x{size}": (2, 1.0),
        f"2x{size}, rate times sqrt 2": (2, sqrt(2)),
        f"2x{size}, rate times 2": (2, 2.0),
    }
    losses: dict[str, list[float]] = {way: [] for way in ways}
    for seed in range(lab.config.seed, lab.config.seed + seeds):
        for way, (devices, factor) in ways.items():
            name = f"{way}, seed {seed}"
            results = lab.train(
                name, devices, size, seed=seed, learning_rate=rate * factor
            )
            losses[way].append(results["val_loss"][-1, 1].item())
    rows = [
        (way, statistics.median(values), min(values), max(values))
        for way, values in losses.items()
    ]
    print(f"\nval_loss after {lab.config.max_epochs} epochs of Adam, {seeds} seeds\n")
    print(tabulate(rows, ["", "median", "min", "max"], floatfmt=".4f"), flush=True)


def main() -> None:
    """Make the runs and print the tables."""
    config = Parser("python -m compare.devices", DevicesConfig).parse_config()
    torch.set_num_threads(config.threads)
    data = MNISTData(config)
    data.prepare_data()
    data.setup("fit")
    lab = Lab(config, new_run_dir(config.output_dir / "compare" / "devices"))
    print(
        f"{data.dataset_name}, {config.max_epochs} epochs, learning rate"
        f" {config.learning_rate} on {config.accelerator}, {config.threads} thread(s) a"
        f" process; torch {torch.__version__}, {platform.machine()}\nThe runs are in"
        f" {lab.folder}",
        flush=True,
    )
    compare_sums(lab)
    compare_learning_rates(lab, config.seeds)
    compare_samplers(lab, data)
    forget_sync_dist(lab)


if __name__ == "__main__":
    exit_on_signals()
    with one_line_errors():
        main()
