"""The small model and data of the clinic, trained healthily in both ways.

40 samples of 8 numbers in 5 batches, 2 epochs, so that step 5 begins the second epoch;
a model with dropout and batch norm, to notice random numbers and modes.
"""

import logging
import warnings
from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)

EPOCHS = 2
Loader = DataLoader[tuple[Tensor, ...]]


def net() -> nn.Sequential:
    """Seed and make the model."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(8, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.2), nn.Linear(6, 8)
    )


def adam(model: nn.Module, **options: Any) -> torch.optim.Adam:
    """Make the optimizer of all cases that do not need another."""
    return torch.optim.Adam(model.parameters(), lr=0.01, **options)


def samples(count: int = 40) -> TensorDataset:
    """Make the data, always the same."""
    return TensorDataset(
        torch.randn(count, 8, generator=torch.Generator().manual_seed(1))
    )


def train_loader(**options: Any) -> Loader:
    """Make the loader to train from: 5 batches of 8, shuffled unless told otherwise."""
    options = {"batch_size": 8, "shuffle": "sampler" not in options, **options}
    return DataLoader(options.pop("dataset", samples()), **options)


def val_loader() -> Loader:
    """Make the loader to evaluate on: 2 batches of 8."""
    return DataLoader(samples(16), batch_size=8)


def evaluate(model: nn.Module) -> None:
    """Run the model over the validation data, changing nothing."""
    model.eval()
    with torch.no_grad():
        for (x,) in val_loader():
            F.mse_loss(model(x), x)


class Port(pl.LightningModule):
    """The model's LightningModule; cases override what they get wrong."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Give the loss on one batch."""
        return F.mse_loss(self.model(batch[0]), batch[0])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Evaluate one batch."""
        F.mse_loss(self.model(batch[0]), batch[0])

    def configure_optimizers(self) -> Any:
        """Make the optimizer."""
        return adam(self.model)


def quiet_trainer(**options: Any) -> pl.Trainer:
    """Make a Trainer for the CPU that prints and saves nothing."""
    settings = {"max_epochs": EPOCHS, "num_sanity_val_steps": 0, **options}
    return pl.Trainer(
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **settings,
    )


def fit(port: pl.LightningModule, train: Loader | None = None, **options: Any) -> None:
    """Let a quiet Trainer fit."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on workers, log intervals: not our subject
        quiet_trainer(**options).fit(port, train or train_loader(), val_loader())


def by_trainer(sick: bool) -> None:
    """Train healthily with a Trainer."""
    fit(Port(net()))


def by_hand(sick: bool) -> None:
    """Train healthily with a hand-written loop."""
    model = net()
    optimizer = adam(model)
    loader = train_loader()
    for _ in range(EPOCHS):
        model.train()
        for (x,) in loader:
            loss = F.mse_loss(model(x), x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        evaluate(model)
