"""The small pieces that the cases put together: data, a model, and a loop.

24 samples in batches of 4 make 6 steps an epoch. Most cases are two epochs or less.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Sampler, TensorDataset

Batch = tuple[Tensor, ...]

_FIXED = torch.Generator().manual_seed(7)
TRAIN = TensorDataset(
    torch.randn(24, 6, generator=_FIXED), torch.randint(3, (24,), generator=_FIXED)
)
VALID = TensorDataset(
    torch.randn(8, 6, generator=_FIXED), torch.randint(3, (8,), generator=_FIXED)
)


class EpochSampler(Sampler[int]):
    """A new order in each epoch that depends on the epoch alone."""

    def __init__(self) -> None:
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order; a Trainer calls this by itself."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        order = torch.Generator().manual_seed(self.epoch)
        return iter(torch.randperm(len(TRAIN), generator=order).tolist())

    def __len__(self) -> int:
        return len(TRAIN)


def in_order() -> DataLoader[Batch]:
    """Return the training batches without shuffling, drawing no global number."""
    return DataLoader(TRAIN, batch_size=4, generator=torch.Generator())


def validation() -> DataLoader[Batch]:
    """Return the two validation batches, drawing no global number."""
    return DataLoader(VALID, batch_size=4, generator=torch.Generator())


def network(dropout: float = 0.0, norm: bool = False) -> nn.Sequential:
    """Build a model of two layers, always with the same weights."""
    torch.manual_seed(0)
    between = nn.BatchNorm1d(8) if norm else nn.Identity()
    return nn.Sequential(
        nn.Linear(6, 8), between, nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 3)
    )


def sgd(model: nn.Module, lr: float = 0.1) -> torch.optim.SGD:
    """Return the optimizer that most cases use."""
    return torch.optim.SGD(model.parameters(), lr=lr)


def train_epoch(
    model: nn.Module, optimizer: torch.optim.Optimizer, batches: Iterable[Batch]
) -> None:
    """Take one step down the gradient for every batch."""
    model.train()
    for inputs, targets in batches:
        step(model, optimizer, inputs, targets)


def step(
    model: nn.Module, optimizer: torch.optim.Optimizer, inputs: Tensor, targets: Tensor
) -> None:
    """Take one step down the gradient."""
    loss = F.cross_entropy(model(inputs), targets)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


@torch.no_grad()
def evaluate(model: nn.Module, batches: Iterable[Batch]) -> None:
    """Run the model on every batch, changing nothing."""
    model.eval()
    for inputs, _ in batches:
        model(inputs)
    model.train()
