"""Measure what recording a run costs.

python -m compare.bench.trace

Steps without and with a trace take turns, on one thread. Printed is the processor time
of a step: the median with quartiles. The models have 784-64-3-64-784 units and 20
million weights; both are trained with Adam on batches of 64.
"""

import tempfile
from collections import Counter
from itertools import pairwise
from pathlib import Path
from time import process_time

import torch
from torch import nn
from torch.nn import functional as F

from compare.bench.report import conditions, in_unit, ratio, table
from compare.bench.turns import take_turns
from compare.trace.command import trace_to

ROUNDS = 15


def network(*sizes: int) -> nn.Sequential:
    """Return linear layers of these sizes with ReLU between them."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class Steps:
    """Training steps of a model, measured without and with a trace."""

    def __init__(self, model: nn.Module, count: int) -> None:
        self.model, self.count = model, count
        self.optimizer = torch.optim.Adam(model.parameters())
        self.batch = torch.rand(64, 784)

    def step(self) -> None:
        """Take one step."""
        loss = F.mse_loss(self.model(self.batch), self.batch)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        loss.item()

    def plain(self) -> float:
        """Return the processor time of a step, in seconds."""
        self.step()  # not counted: here a trace names the parameters, once a run
        start = process_time()
        for _ in range(self.count):
            self.step()
        return (process_time() - start) / self.count

    def traced(self) -> float:
        """Return the same while a trace is written."""
        with (
            tempfile.NamedTemporaryFile() as file,
            trace_to(Path(file.name), [], Counter()),
        ):
            return self.plain()


def main() -> None:
    """Print the table."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    print(f"{conditions('random numbers', 1, ROUNDS)}\n")
    rows = []
    for name, sizes, count in (
        ("784-64-3-64-784", (784, 64, 3, 64, 784), 50),
        ("20 million weights", (784, 3000, 4500, 900, 784), 2),
    ):
        steps = Steps(network(*sizes), count)
        ways = {"without": steps.plain, "with": steps.traced}
        samples = take_turns(ways, ROUNDS)
        times = [in_unit(samples[way], "µs") for way in ways]
        rows.append([name, *times, ratio(samples, "with", "without")])
    heads = ["one step", "without a trace, µs", "with a trace, µs", "times"]
    print(table(heads, rows, "simple"))


if __name__ == "__main__":
    main()
