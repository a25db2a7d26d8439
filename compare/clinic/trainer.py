# ruff: noqa: D401 (a case's docstring is its title)
"""Cases of a Trainer beside a loop written by hand."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import ExponentialLR
from torch.utils.data import DataLoader, IterableDataset

from compare.clinic.case import case
from compare.clinic.parts import Batch, evaluate, in_order, network, sgd, train_epoch
from compare.clinic.parts import validation as validation_batches


class Lit(pl.LightningModule):
    """The clinic's network as a LightningModule; SGD, and a schedule by the epoch."""

    def __init__(self, manual: bool = False) -> None:
        super().__init__()
        self.model = network(dropout=0.5)
        self.automatic_optimization = not manual

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss; in manual optimization take the step too."""
        del batch_idx
        loss = F.cross_entropy(self.model(batch[0]), batch[1])
        if not self.automatic_optimization:
            optimizer: Any = self.optimizers()
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Run the model."""
        del batch_idx
        self.model(batch[0])

    def configure_optimizers(self) -> Any:
        """Return the optimizer and its schedule."""
        optimizer = sgd(self)
        return [optimizer], [ExponentialLR(optimizer, 0.5)]


def trainer(**options: Any) -> pl.Trainer:
    """Return a Trainer that says and writes nothing."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    return pl.Trainer(
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **{"max_epochs": 2, **options},
    )


def loop() -> None:
    """Do by hand what `trainer().fit(Lit())` does."""
    model = network(dropout=0.5)
    optimizer = sgd(model)
    scheduler = ExponentialLR(optimizer, 0.5)
    for _ in range(2):
        train_epoch(model, optimizer, in_order())
        evaluate(model, validation_batches())
        scheduler.step()


def fit(model: nn.Module, **options: Any) -> None:
    """Fit a Lit on the clinic's data."""
    assert isinstance(model, pl.LightningModule)
    trainer(**options).fit(model, in_order(), validation_batches())


@case(
    step=0,
    quantity="mode",
    cause="eval-before-fit",
    mend="Call model.train() before fit.",
    thread="https://github.com/Lightning-AI/pytorch-lightning/issues/18951",
    healthy=loop,
)
def eval_before_fit(mistake: bool) -> None:
    """model.eval() before fit stays: the Trainer does not undo it."""
    fit(Lit().train(not mistake))


@case(
    step=2,
    quantity="evaluation",
    cause="evaluation-missing",
    mend="Evaluate in both runs at the same steps.",
    healthy=loop,
)
def validation_twice_an_epoch(mistake: bool) -> None:
    """val_check_interval=0.5 validates in the middle of an epoch too."""
    fit(Lit(), val_check_interval=0.5 if mistake else 1.0)


@case(
    step=6,
    quantity="learning rate",
    cause="scheduler-not-stepped",
    mend="Call self.lr_schedulers().step() in on_train_epoch_end.",
    thread="https://github.com/Lightning-AI/pytorch-lightning/issues/6825",
    healthy=loop,
)
def manual_without_scheduler(mistake: bool) -> None:
    """In manual optimization the Trainer steps no scheduler."""
    fit(Lit(manual=mistake))


@case(
    step=2,
    quantity="evaluation",
    cause="epoch-length",
    mend="Take limit_train_batches away after the dry run.",
    healthy=loop,
)
def batches_limited(mistake: bool) -> None:
    """limit_train_batches=0.5 was left in after a dry run."""
    fit(Lit(), limit_train_batches=0.5 if mistake else 1.0)


@case(
    step=6,
    quantity="length",
    cause="stopped-earlier",
    mend="Fit once, with all epochs.",
    healthy=loop,
)
def second_fit_does_nothing(mistake: bool) -> None:
    """A second fit on one Trainer, which has counted all its epochs, runs no step."""
    model = Lit()
    one_trainer = trainer(max_epochs=1 if mistake else 2)
    one_trainer.fit(model, in_order(), validation_batches())
    if mistake:
        one_trainer.fit(model, in_order(), validation_batches())


class Endless(IterableDataset[Batch]):
    """Six batches drawn from the global generator; nobody can know it is six."""

    def __iter__(self) -> Iterator[Batch]:
        for _ in range(6):
            yield torch.randn(4, 6), torch.arange(4) % 3


def endless_loop() -> None:
    """Do by hand what the Trainer does with endless data."""
    model = network(dropout=0.5)
    train_epoch(model, sgd(model), DataLoader(Endless(), batch_size=None))


@case(
    step=0,
    quantity="loss",
    cause="prefetched-batch",
    mend="Give the data a generator of its own, or a length.",
    healthy=endless_loop,
)
def batch_prefetched(mistake: bool) -> None:
    """A Trainer fetches a batch ahead, and moves the generator before dropout."""
    if not mistake:
        return endless_loop()
    options = {"max_epochs": 1, "limit_val_batches": 0}
    trainer(**options).fit(Lit(), DataLoader(Endless(), batch_size=None))
