# ruff: noqa: D401 (a case's docstring is its title)
"""Cases in which the batches hold something else."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from compare.clinic.case import case
from compare.clinic.parts import TRAIN, in_order, network, sgd, step, train_epoch


@case(
    step=0,
    quantity="batch",
    cause="batch-size",
    mend="Keep the batch a step sees: batch size times devices times accumulation.",
    thread="https://github.com/Lightning-AI/pytorch-lightning/issues/3953",
)
def batch_size_changed(mistake: bool) -> None:
    """The batch is half as large, as on each of two devices."""
    model = network(norm=True)
    loader = DataLoader(TRAIN, batch_size=2 if mistake else 4)
    train_epoch(model, sgd(model), loader)


@case(
    step=5,
    quantity="batch",
    cause="drop-last",
    mend="Use the same drop_last for both loaders.",
)
def last_batch_dropped(mistake: bool) -> None:
    """The last batch of an epoch is smaller, and one run drops it."""
    model = network()
    data = Subset(TRAIN, range(22))
    loader = DataLoader(data, batch_size=4, drop_last=mistake)
    optimizer = sgd(model)
    for _ in range(2):
        train_epoch(model, optimizer, loader)


@case(
    step=0,
    quantity="batch",
    cause="preprocessing",
    mend="Normalize in both runs, with the same mean and deviation.",
)
def normalization_forgotten(mistake: bool) -> None:
    """The inputs are not normalized."""
    model = network()
    optimizer = sgd(model)
    for inputs, targets in in_order():
        shown = inputs if mistake else (inputs - 0.1307) / 0.3081
        step(model, optimizer, shown, targets)


class Augmented(Dataset[tuple[Tensor, Tensor]]):
    """Training data with noise, drawn wherever a sample is fetched."""

    def __len__(self) -> int:
        return len(TRAIN)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        inputs, target = TRAIN[index]
        return inputs + 0.01 * torch.randn(6), target


@case(
    step=0,
    quantity="batch",
    cause="augmentation",
    mend="Seed each sample's augmentation by its index and the epoch.",
)
def augmentation_in_workers(mistake: bool) -> None:
    """Noise is drawn in the loader's workers, and their number differs."""
    model = network()
    loader = DataLoader(Augmented(), batch_size=4, num_workers=1 if mistake else 0)
    train_epoch(model, sgd(model), loader)


@case(
    step=0,
    quantity="loss",
    cause="other-target",
    mend="Print the targets of the first batch in both runs.",
)
def targets_shifted(mistake: bool) -> None:
    """The labels are counted from one in one run, and wrap around."""
    model = network()
    optimizer = sgd(model)
    for inputs, targets in in_order():
        step(model, optimizer, inputs, (targets + 1) % 3 if mistake else targets)
