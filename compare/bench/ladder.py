"""One step, from the arithmetic alone up to the Lightning half."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import pytorch_lightning as pl

import lightning.train
import plain_pytorch.train
from compare.bench.halves import LIGHTNING, PLAIN, build, load, train
from compare.bench.report import compared, ratio
from compare.bench.turns import same_as_first, time_trainings
from shared.data import Batch
from shared.options.train import Config as TrainConfig

ARITHMETIC = "arithmetic, batches from the loader"
BAREBONES = "Trainer(barebones=True)"


def arithmetic(config: TrainConfig, batches: Iterable[Batch]) -> Any:
    """Take a step with every batch: forward, backward, update, and nothing else."""
    model = build(plain_pytorch.train.Model, config)
    if config.use_cuda:
        model.cuda()
    optimizer = model.configure_optimizers()
    for batch_idx, batch in enumerate(batches):
        if config.use_cuda:
            batch = [tensor.cuda() for tensor in batch]
        loss = model.training_step(batch, batch_idx)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


def barebones(config: TrainConfig, data: Any) -> Any:
    """Train with a Trainer that has nothing but its loops; it ignores self.log."""
    model = build(lightning.train.Model, config)
    trainer = pl.Trainer(
        accelerator="cuda" if config.use_cuda else "cpu",
        devices=1,
        max_epochs=1,
        barebones=True,
    )
    trainer.fit(model, data.train_dataloader())
    return model


def measure(config: TrainConfig, rounds: int) -> dict[str, Any]:
    """Return the seconds of a step on each rung, and whether its weights are equal."""
    data = load(config)
    in_memory = list(data.train_dataloader())
    trainings: dict[str, Callable[[], Any]] = {
        "arithmetic, batches in memory": partial(arithmetic, config, in_memory),
        ARITHMETIC: lambda: arithmetic(config, data.train_dataloader()),
        PLAIN: partial(train, plain_pytorch.train, config, data),
        BAREBONES: partial(barebones, config, data),
        LIGHTNING: partial(train, lightning.train, config, data),
    }
    seconds, weights = time_trainings(trainings, rounds, config.use_cuda)
    return {"seconds": seconds, "same": same_as_first(weights)}


def report(results: dict[str, Any], form: str) -> str:
    """Return a table, and the two ratios that have an aim."""
    seconds = results["seconds"]
    first = next(iter(seconds))
    return (
        f"{compared(results, 'one step', 'times the arithmetic', form)}\n\n"
        f"The plain half takes {ratio(seconds, PLAIN, first)} times the arithmetic;"
        " the aim is 1.15.\n"
        f"The Lightning half takes {ratio(seconds, LIGHTNING, BAREBONES)} times the"
        " bare Trainer; the aim is 1.25."
    )
