"""A hand-written loop and its port that know nothing of this repository."""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, TensorDataset


@dataclass(frozen=True)
class Setup:
    seed: int = 0
    epochs: int = 2
    samples: int = 22
    batch_size: int = 4
    optimizer: str = "Adam"
    dropout: float = 0.3
    norm: str = "BatchNorm1d"
    accumulate: int = 1
    clip: float | None = None
    bf16: bool = False
    sanity: bool = True
    schedule: bool = True


class Net(nn.Module):
    def __init__(self, setup: Setup) -> None:
        super().__init__()
        self.first = nn.Linear(5, 7)
        self.norm = getattr(nn, setup.norm)(7)
        self.dropout = nn.Dropout(setup.dropout)
        self.second = nn.Linear(7, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.second(self.dropout(torch.relu(self.norm(self.first(x)))))
        return out


class LitNet(pl.LightningModule):
    """Wraps the network, calls the loss as a module, and logs."""

    def __init__(self, setup: Setup) -> None:
        super().__init__()
        self.setup_of_run = setup
        self.model = Net(setup)
        self.criterion = nn.CrossEntropyLoss()

    def training_step(self, batch: list[Tensor]) -> Tensor:
        loss: Tensor = self.criterion(self.model(batch[0]), batch[1])
        self.log("train_loss", loss, on_epoch=True)
        return loss

    def validation_step(self, batch: list[Tensor]) -> None:
        self.log("val_loss", self.criterion(self.model(batch[0]), batch[1]))

    def configure_optimizers(self) -> Any:
        optimizer = make_optimizer(self, self.setup_of_run)
        if self.setup_of_run.schedule:
            return [optimizer], [StepLR(optimizer, 1, 0.5)]
        return optimizer


def make_optimizer(model: nn.Module, setup: Setup) -> torch.optim.Optimizer:
    kind: type[torch.optim.SGD] = getattr(torch.optim, setup.optimizer)
    return kind(model.parameters(), lr=0.01)


def loaders(setup: Setup) -> list[DataLoader[tuple[Tensor, ...]]]:
    numbers = torch.Generator().manual_seed(setup.seed)
    inputs = torch.randn(setup.samples, 5, generator=numbers)
    data = TensorDataset(inputs, inputs.argmax(1) % 3)
    return [
        DataLoader(data, setup.batch_size, generator=torch.Generator().manual_seed(1))
        for _ in range(2)
    ]


def by_hand(setup: Setup) -> None:
    train, valid = loaders(setup)
    torch.manual_seed(setup.seed)
    model = Net(setup)
    optimizer = make_optimizer(model, setup)
    scheduler = StepLR(optimizer, 1, 0.5) if setup.schedule else None
    for _ in range(setup.epochs):
        model.train()
        for index, (x, y) in enumerate(train):
            with torch.autocast("cpu", torch.bfloat16, enabled=setup.bf16):
                loss = F.cross_entropy(model(x), y)
            (loss / setup.accumulate).backward()
            if (index + 1) % setup.accumulate == 0 or index + 1 == len(train):
                if setup.clip:
                    nn.utils.clip_grad_norm_(model.parameters(), setup.clip)
                optimizer.step()
                optimizer.zero_grad()
        model.eval()
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=setup.bf16):
            for x, y in valid:
                F.cross_entropy(model(x), y)
        if scheduler:
            scheduler.step()


def by_trainer(setup: Setup) -> None:
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    train, valid = loaders(setup)
    torch.manual_seed(setup.seed)
    model = LitNet(setup)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pl.Trainer(
            max_epochs=setup.epochs,
            accelerator="cpu",
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            accumulate_grad_batches=setup.accumulate,
            gradient_clip_val=setup.clip,
            precision="bf16-mixed" if setup.bf16 else "32-true",
            num_sanity_val_steps=2 if setup.sanity else 0,
        ).fit(model, train, valid)
