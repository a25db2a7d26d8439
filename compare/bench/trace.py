"""Measure what tracing costs.

python -m compare.bench.trace

On one thread, steps with and without a trace take turns; the medians are compared.
The models: 784-64-3-64-784 with Adam on batches of 64, and one of 20 million weights.
"""

import sys
import tempfile
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from statistics import median

import torch
from tabulate import tabulate
from torch import Tensor, nn
from torch.nn import functional as F

from compare.trace.command import trace_to


def network(*sizes: int) -> nn.Sequential:
    """Return linear layers of these sizes with ReLU between them."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def seconds_a_step(
    model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor
) -> float:
    """Take one step and return its time."""
    start = time.perf_counter()
    loss = F.mse_loss(model(x), x)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    loss.item()
    return time.perf_counter() - start


def measure(model: nn.Module, rounds: int, steps: int) -> tuple[float, float, float]:
    """Return seconds a step without and with a trace, and bytes a step in the file.

    Each round takes so many steps without and then as many with.
    """
    optimizer = torch.optim.Adam(model.parameters())
    x = torch.rand(64, 784)
    plain, traced = [], []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "bench.trace")
        for _ in range(rounds):
            plain += [seconds_a_step(model, optimizer, x) for _ in range(steps)]
            with trace_to(path, [], Counter()):
                seconds_a_step(model, optimizer, x)  # names the parameters: once a run
                traced += [seconds_a_step(model, optimizer, x) for _ in range(steps)]
        lines = path.read_text().splitlines()
    size = median(len(line) for line in lines if '"kind":"step"' in line)
    return median(plain), median(traced), size


def main() -> int:
    """Print the table."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    rows = []
    for name, sizes, rounds, steps in (
        ("784-64-3-64-784", (784, 64, 3, 64, 784), 20, 50),
        ("20 million weights", (784, 3000, 4500, 900, 784), 5, 4),
    ):
        plain, traced, size = measure(network(*sizes), rounds, steps)
        more = f"{100 * (traced / plain - 1):.0f}%"
        rows.append(
            [name, f"{1e3 * plain:.2f}", f"{1e3 * traced:.2f}", more, f"{size:.0f}"]
        )
    print(tabulate(rows, ["model", "ms a step", "traced", "more", "bytes a step"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
