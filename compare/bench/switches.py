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
from compare.bench.report import in_unit, ratio, table
from compare.bench.turns import same, time_trainings
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
            PLAIN: partial(train, plain, config, data),  # has no more than these
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

    Also returned is whether both halves reach the same weights with it, and whether
    these are the weights without it.
    """
    named = {
        f"{half}, {switch}": training
        for switch, pair in trainings(config).items()
        for half, training in pair.items()
    }
    seconds, weights = time_trainings(named, rounds, config.use_cuda)
    switches: dict[str, Any] = {}
    for name, reached in weights.items():
        half, _, switch = name.partition(", ")
        one = switches.setdefault(switch, {"seconds": {}})
        one["seconds"][half] = seconds[name]
        if half == PLAIN:
            one["same as none"] = same(reached, weights[f"{PLAIN}, none"])
        else:
            one["same in both"] = same(reached, weights[f"{PLAIN}, {switch}"])
    return {"switches": switches}


def report(results: dict[str, Any], form: str) -> str:
    """Return a table with a row for each switch."""
    without = results["switches"]["none"]["seconds"]
    rows = []
    for switch, found in results["switches"].items():
        row = [switch]
        for half, seconds in found["seconds"].items():
            with_and_without = {"with": seconds, "without": without[half]}
            row += [
                in_unit(seconds, "µs"),
                ratio(with_and_without, "with", "without"),
            ]
        row += [
            "yes" if found[name] else "no" for name in ("same in both", "same as none")
        ]
        rows.append(row)
    heads = [
        "switch",
        *(
            head
            for half in (PLAIN, LIGHTNING)
            for head in (f"{half}, µs", "times none")
        ),
        "both halves equal",
        "equal to none",
    ]
    return table(heads, rows, form)
