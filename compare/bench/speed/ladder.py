"""The ladder: what each thing beside the arithmetic adds to a step."""

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

from compare.bench.speed.turns import Samples, take_turns
from compare.bench.speed.ways import (
    Clock,
    LitModel,
    LoadedData,
    Options,
    PlainModel,
    Sample,
    arithmetic,
    build,
    lightning_half,
    plain_half,
)
from shared.data import Batch


def barebones(options: Options) -> Options:
    """Return the options of a Trainer with nothing but its loop."""
    kept = ("accelerator", "devices", "max_epochs", "limit_train_batches")
    return {"barebones": True, **{name: options[name] for name in kept}}


def stripped(options: Options) -> Options:
    """Return the options of a Trainer that keeps and shows nothing."""
    return options | {
        "callbacks": [],
        "logger": False,
        "enable_progress_bar": False,
        "enable_checkpointing": False,
        "enable_model_summary": False,
    }


def timed(
    train: Callable[..., None], model_class: type[Clock], data: LoadedData
) -> Callable[..., Sample]:
    """Return a way: called, it trains a new model and returns its times."""

    def way(**changes: Any) -> Sample:
        model = build(model_class, data.config)
        train(model, data, **changes)
        return model.sample()

    return way


def measure(data: LoadedData, rounds: int) -> Samples:
    """Return the times of all rungs."""
    config = data.config
    limit, use_cuda = config.limit_train_batches, config.use_cuda
    in_memory = list(islice(data.train_dataloader(), limit))
    lightning = timed(lightning_half, LitModel, data)

    def bare(batches: Iterable[Batch]) -> Sample:
        model = build(PlainModel, config)
        arithmetic(model, batches, use_cuda)
        return model.sample()

    return take_turns(
        {
            "arithmetic": lambda: bare(in_memory),
            "loader": lambda: bare(islice(data.train_dataloader(), limit)),
            "plain": timed(plain_half, PlainModel, data),
            "barebones": lambda: lightning(change=barebones),
            "stripped": lambda: lightning(change=stripped),
            "lightning": lightning,
        },
        rounds,
    )
