"""Switches that make a step faster, in both halves."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

import lightning.compile
import lightning.precision
import lightning.train
import plain_pytorch.compile
import plain_pytorch.precision
import plain_pytorch.train
from compare.bench.halves import LIGHTNING, PLAIN, load, train
from compare.bench.report import in_unit, ratio, table, yes_or_no
from compare.bench.turns import same, same_as_first, time_trainings
from lightning.train import Data
from shared.data import Batch
from shared.options.common import LOG_EVERY_N_STEPS
from shared.options.precision import Config as PrecisionConfig
from shared.options.train import Config as TrainConfig


class Fused:
    """A base class to put before a model: its Adam is one function for all weights."""

    def configure_optimizers(self: Any) -> torch.optim.Optimizer:
        """Return Adam with fused=True."""
        rate = self.hparams["learning_rate"]
        return torch.optim.Adam(self.parameters(), lr=rate, fused=True)


class FusedPlain(Fused, plain_pytorch.train.Model):
    """The plain half's model with a fused Adam."""


class FusedLightning(Fused, lightning.train.Model):
    """The Lightning half's model with a fused Adam."""


class FewerLogs(lightning.train.Model):
    """The Lightning half's model, which logs only what the logger writes."""

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch, and log that of every 10th step."""
        images, _ = batch
        loss = self.reconstruction_loss(images)
        if (self.global_step + 1) % LOG_EVERY_N_STEPS == 0:
            self.log("train_loss", loss)
        return loss


class Batches:
    """The batches of an epoch, in memory."""

    def __init__(self, loader: DataLoader[Batch]) -> None:
        self.batches = list(loader)
        self.sampler = loader.sampler

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.batches)


class InMemory(Data):
    """The data, with all batches to learn from in memory."""

    def train_dataloader(self) -> Any:
        """Return the batches."""
        return Batches(super().train_dataloader())


def compiled(half: Any, config: TrainConfig, data: Any) -> Any:
    """Train with a half of the lesson compile."""
    torch.compiler.reset()  # or it gives up after eight models
    return train(half, config, data)


Pair = dict[str, Callable[[], Any]]


def trainings(config: TrainConfig) -> dict[str, Pair]:
    """Return the training of each half with each switch, first without any."""
    data, in_memory = load(config), InMemory(config)
    plain, trainer = plain_pytorch.train, lightning.train
    in_16_bits = PrecisionConfig(**vars(config))
    return {
        "none": {
            PLAIN: partial(train, plain, config, data),
            LIGHTNING: partial(train, trainer, config, data),
        },
        "fewer logs": {
            PLAIN: partial(train, plain, config, data),  # logs no more anyway
            LIGHTNING: partial(train, trainer, config, data, FewerLogs),
        },
        "batches in memory": {
            PLAIN: partial(train, plain, config, in_memory),
            LIGHTNING: partial(train, trainer, config, in_memory),
        },
        "fused Adam": {
            PLAIN: partial(train, plain, config, data, FusedPlain),
            LIGHTNING: partial(train, trainer, config, data, FusedLightning),
        },
        "torch.compile": {
            PLAIN: partial(compiled, plain_pytorch.compile, config, data),
            LIGHTNING: partial(compiled, lightning.compile, config, data),
        },
        "bf16 autocast": {
            PLAIN: partial(train, plain_pytorch.precision, in_16_bits, data),
            LIGHTNING: partial(train, lightning.precision, in_16_bits, data),
        },
    }


def measure(config: TrainConfig, rounds: int) -> dict[str, Any]:
    """Return the seconds of a step in both halves with each switch.

    Also returned are the switches with which both halves reach the same weights, and
    those with which these are the weights without a switch.
    """
    pairs = trainings(config)
    named = {
        f"{half}, {switch}": training
        for switch, pair in pairs.items()
        for half, training in pair.items()
    }
    seconds, weights = time_trainings(named, rounds, config.use_cuda)
    plain = {switch: weights[f"{PLAIN}, {switch}"] for switch in pairs}
    return {
        "seconds": seconds,
        "same in both": [
            switch
            for switch in pairs
            if same(plain[switch], weights[f"{LIGHTNING}, {switch}"])
        ],
        "same as none": same_as_first(plain),
    }


def report(results: dict[str, Any], form: str) -> str:
    """Return a table with a row for each switch."""
    seconds = results["seconds"]
    rows = []
    for switch in dict.fromkeys(name.partition(", ")[2] for name in seconds):
        row = [switch]
        for half in (PLAIN, LIGHTNING):
            name = f"{half}, {switch}"
            row += [in_unit(seconds[name], "µs"), ratio(seconds, name, f"{half}, none")]
        row.append(yes_or_no(switch in results["same in both"]))
        row.append(yes_or_no(switch in results["same as none"]))
        rows.append(row)
    heads = [
        "switch",
        *(f"{PLAIN}, µs", "times none"),
        *(f"{LIGHTNING}, µs", "times none"),
        *("both halves bit-equal", "bit-equal to none"),
    ]
    return table(heads, rows, form)
