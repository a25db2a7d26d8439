"""Twice the images a step, with three learning rates."""

import statistics
from math import sqrt

from tabulate import tabulate

from compare.bench.measured import Results
from compare.bench.processes import Lab


def measure(lab: Lab, seeds: int) -> Results:
    """Return the last val_loss of each way, one for each seed."""
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
    return losses


def show(results: Results) -> str:
    """Return the table."""
    options = results["options"]
    rows = [
        (way, statistics.median(losses), min(losses), max(losses))
        for way, losses in results["rates"].items()
    ]
    title = f"val_loss after {options['max_epochs']} epochs of Adam,"
    table = tabulate(rows, ["", "median", "min", "max"], floatfmt=".4f")
    return f"{title} {options['seeds']} seeds\n\n{table}"
