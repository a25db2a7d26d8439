"""The same images a step, by one process and by two: sums in another order."""

from collections import Counter
from contextlib import AbstractContextManager
from pathlib import Path

import torch
from tabulate import tabulate
from torch import Tensor

from compare.bench.measured import Results
from compare.bench.processes import Lab
from compare.trace.command import trace_to
from compare.trace.run import read_trace
from shared.model import AutoEncoder


def traced(path: Path) -> AbstractContextManager[None]:
    """Record every step of this rank."""
    return trace_to(path.with_suffix(".trace"), [], Counter())


def measure(lab: Lab) -> Results:
    """Return where one process and two that share its batches part."""
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
    return {
        "steps": len(same_weights),
        "other_losses": int((differences > 0).sum()),
        "first_loss": first(differences == 0),
        "other_weights": same_weights.count(False),
        "first_weights": first(same_weights),
        "loss_by": differences.max().item(),
        "weight_by": max(
            (alone[key] - shared[key]).abs().max().item()
            for key in AutoEncoder().state_dict()
        ),
        "val_loss": {
            name: results["val_loss"][-1, 1].item()
            for name, results in ((one, alone), (two, shared))
        },
    }


def first(same: Tensor | list[bool]) -> int | None:
    """Return the first step that is not the same."""
    return next((step for step, one in enumerate(same) if not one), None)


def show(results: Results) -> str:
    """Return the table."""
    sums = results["sums"]
    rows = [
        ("steps", sums["steps"]),
        ("with another train_loss", sums["other_losses"]),
        ("first of them", sums["first_loss"]),
        ("that give other weights", sums["other_weights"]),
        ("first of them", sums["first_weights"]),
        ("largest difference of a train_loss", f"{sums['loss_by']:.1e}"),
        (
            "largest difference of a weight, after the last",
            f"{sums['weight_by']:.1e}",
        ),
    ]
    for name, val_loss in sums["val_loss"].items():
        rows.append((f"val_loss of {name}", f"{val_loss:.9f}"))
    title = f"{' and '.join(sums['val_loss'])}: the same images a step, summed in"
    table = tabulate(
        rows, disable_numparse=True, colalign=("left", "right"), missingval="none"
    )
    return f"{title} another order\n\n{table}"
