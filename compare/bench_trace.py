"""What tracing costs.

    python -m compare.bench_trace

One thread. A block of steps without the trace, one with, and so on in turn; the medians
over all steps are compared, so that a slow moment of the machine hits both alike.
"""

import statistics
import time
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torch.nn.functional as F
from tabulate import tabulate
from torch import Tensor, nn

from compare.trace import trace

# name: widths of the layers, batch size, steps a block, blocks of each kind
MODELS = {
    "784-64-3-64-784": ([784, 64, 3, 64, 784], 64, 300, 10),
    "5 layers of 2048": ([2048] * 6, 64, 6, 6),
    "the same": ([2048] * 6, 256, 6, 6),
}


def main() -> None:
    """Time a step of each model with and without the trace, and print a table."""
    torch.set_num_threads(1)
    rows = []
    for name, (widths, batch_size, steps, blocks) in MODELS.items():
        torch.manual_seed(0)
        layers = [
            layer
            for before, after in pairwise(widths)
            for layer in (nn.Linear(before, after), nn.ReLU())
        ]
        model = nn.Sequential(*layers[:-1])
        optimizer = torch.optim.Adam(model.parameters())
        images = torch.rand(batch_size, widths[0])
        times: dict[bool, list[float]] = {False: [], True: []}
        with TemporaryDirectory() as folder:
            out = Path(folder, "bench.trace")
            for block in range(2 * blocks):
                traced = block % 2 == 1
                with trace(out) if traced else nullcontext():
                    times[traced] += train(model, optimizer, images, steps)
            size = out.stat().st_size / steps
        off, on = (statistics.median(times[traced]) * 1e3 for traced in (False, True))
        parameters = sum(p.numel() for p in model.parameters())
        rows.append(
            [
                name,
                parameters,
                batch_size,
                off,
                on,
                f"{on / off - 1:+.0%}",
                f"{size:.0f}",
            ]
        )
    headers = [
        "model",
        "parameters",
        "batch",
        "off, ms",
        "traced, ms",
        "cost",
        "bytes a step",
    ]
    print(tabulate(rows, headers, floatfmt=".2f", intfmt=","))


def train(
    model: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, steps: int
) -> list[float]:
    """Run some steps and give the seconds of each but the first two."""
    times = []
    for _ in range(steps):
        start = time.perf_counter()
        loss = F.mse_loss(model(images), images)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        times.append(time.perf_counter() - start)
    return times[2:]


if __name__ == "__main__":
    main()
