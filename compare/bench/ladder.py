"""One step, from the arithmetic alone up to the Lightning half."""

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

import pytorch_lightning as pl
import torch

import lightning.train
import plain_pytorch.train
from compare.bench.turns import Clock, quiet_run_dir
from shared.data import Batch
from shared.options.train import Config as TrainConfig


class PlainModel(Clock, plain_pytorch.train.Model):
    """The plain half's model with a clock."""


class LightningModel(Clock, lightning.train.Model):
    """The Lightning half's model with a clock."""


def build(model_class: type[Any], config: TrainConfig) -> Any:
    """Return a model, always with the same weights."""
    torch.manual_seed(config.seed)
    return model_class(config.hidden_dim, config.latent_dim, config.learning_rate)


def arithmetic(config: TrainConfig, epochs: list[Iterable[Batch]]) -> PlainModel:
    """Take a step with every batch: forward, backward, update, and nothing else."""
    model = build(PlainModel, config)
    optimizer = model.configure_optimizers()
    for batches in epochs:
        for batch_idx, batch in enumerate(batches):
            loss = model.training_step(batch, batch_idx)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model


def plain_half(config: TrainConfig, data: Any) -> PlainModel:
    """Train with the loop of plain_pytorch/train.py."""
    model = build(PlainModel, config)
    with quiet_run_dir() as run_dir:
        plain_pytorch.train.fit(model, data, config, run_dir)
    return model


def barebones(config: TrainConfig, data: Any) -> LightningModel:
    """Train with a Trainer that has nothing but its loops; it ignores self.log."""
    model = build(LightningModel, config)
    with quiet_run_dir():
        trainer = pl.Trainer(
            accelerator="cpu", devices=1, max_epochs=config.max_epochs, barebones=True
        )
        trainer.fit(model, data.train_dataloader())
    return model


def lightning_half(config: TrainConfig, data: Any) -> LightningModel:
    """Train with the Trainer of lightning/train.py."""
    model = build(LightningModel, config)
    with quiet_run_dir() as run_dir:
        lightning.train.fit(model, data, config, run_dir)
    return model


def ways(config: TrainConfig, data: Any) -> dict[str, Callable[[], float]]:
    """Return the rungs of the ladder; each trains and returns the seconds of a step."""
    loader = data.train_dataloader()
    in_memory = list(islice(loader, len(loader)))
    epochs = config.max_epochs
    return {
        "arithmetic, batches in memory": lambda: arithmetic(
            config, [in_memory] * epochs
        ).seconds(),
        "arithmetic, batches from the loader": lambda: arithmetic(
            config, [loader] * epochs
        ).seconds(),
        "plain half": lambda: plain_half(config, data).seconds(),
        "Trainer(barebones=True)": lambda: barebones(config, data).seconds(),
        "Lightning half": lambda: lightning_half(config, data).seconds(),
    }
