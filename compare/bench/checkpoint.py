"""Measure what a safe save costs beside the bare one.

python -m compare.bench.checkpoint

Both take turns with the same checkpoint, that of the default model after a step:
`write_checkpoint`, which checks what it writes and renames it when it is on the disk,
and torch.save into an open file, flushed and synced, which checks nothing.
"""

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import torch
from tabulate import tabulate

from shared.checkpoints.rng import get_rng_states
from shared.checkpoints.whole_files import read_checkpoint, write_checkpoint
from shared.model import AutoEncoder

ROUNDS = 200


def make_checkpoint() -> dict[str, Any]:
    """Return a checkpoint of the default model after its first step."""
    torch.manual_seed(0)
    model = AutoEncoder()
    optimizer = torch.optim.Adam(model.parameters())
    model.reconstruction_loss(torch.rand(64, 1, 28, 28)).backward()
    optimizer.step()
    return {
        "state_dict": model.state_dict(),
        "optimizer_states": [optimizer.state_dict()],
        "rng_states": get_rng_states(),
    }


def save_bare(path: Path, checkpoint: dict[str, Any]) -> None:
    """Save over the file that is there."""
    with path.open("wb") as file:
        torch.save(checkpoint, file)
        file.flush()
        os.fsync(file.fileno())


def main() -> None:
    """Print milliseconds of each, the median and the quartiles."""
    torch.set_num_threads(1)
    checkpoint = make_checkpoint()
    with tempfile.TemporaryDirectory(dir=".") as folder:
        path, bare = Path(folder, "a.ckpt"), Path(folder, "bare.ckpt")
        ways: dict[str, Callable[[], object]] = {
            "torch.save and fsync": lambda: save_bare(bare, checkpoint),
            "write_checkpoint": lambda: write_checkpoint(path, checkpoint),
            "torch.load": lambda: torch.load(bare, weights_only=True),
            "read_checkpoint": lambda: read_checkpoint(path),
        }
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, way in ways.items():
                start = time.perf_counter()
                way()
                times[name].append(1e3 * (time.perf_counter() - start))
        size = path.stat().st_size
    print(f"{size:,} bytes, {ROUNDS} rounds, one thread; torch {torch.__version__}")
    bare_way = {
        "write_checkpoint": "torch.save and fsync",
        "read_checkpoint": "torch.load",
    }
    rows = []
    for name, taken in times.items():
        low, _, high = quantiles(taken, n=4)
        base = median(times[bare_way.get(name, name)])
        rows.append((name, median(taken), low, high, median(taken) / base))
    headers = ["ms", "median", "lower quartile", "upper quartile", "ratio"]
    print(tabulate(rows, headers, floatfmt=("", ".2f", ".2f", ".2f", ".2f")))


if __name__ == "__main__":
    main()
