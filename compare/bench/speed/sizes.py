"""The same step for larger models and batches: where the overhead stops mattering."""

from functools import partial
from itertools import islice
from typing import Any

from compare.bench.speed.turns import Samples, take_turns
from compare.bench.speed.ways import (
    LitModel,
    LoadedData,
    PlainModel,
    Sample,
    arithmetic,
    build,
    lightning_half,
    plain_half,
)
from shared.data import Batch, ImageDataset
from shared.datasets.catalog import Images
from shared.model import AutoEncoder

DEFAULT_SIZE, DEFAULT_BATCH = 100_000, 64
POINTS = [
    *((size, DEFAULT_BATCH) for size in (50_000, 100_000, 500_000, 2_000_000)),
    *((size, DEFAULT_BATCH) for size in (5_000_000, 20_000_000, 50_000_000)),
    *((DEFAULT_SIZE, batch_size) for batch_size in (16, 256, 1024, 4096)),
    *((2_000_000, batch_size) for batch_size in (16, 256, 1024)),
]
"""Parameters of the model, about, and images a step."""
WARM_UP = 3
LEAST, MOST = 5, 60
SECONDS = 0.5
"""A turn is as many steps as fit into this time, within these limits."""


def count(width: int) -> int:
    """Return how many parameters a model of this width has."""
    return sum(parameter.numel() for parameter in AutoEncoder(width).parameters())


def hidden_dim(parameters: int) -> int:
    """Return the width of a model with about this number of parameters."""
    per_unit = count(2) - count(1)  # the layers grow in one direction only
    return 1 + round((parameters - count(1)) / per_unit)


def enough_images(data: LoadedData, size: int) -> LoadedData:
    """Return the data with so many images, some more than once."""
    images = data.train_set.images
    times = -(-size // len(images.labels))
    larger = data.changed()
    larger.train_set = ImageDataset(
        Images(images.pixels.repeat(times, 1, 1), images.labels.repeat(times))
    )
    return larger


def bare(batches: list[Batch], data: LoadedData, steps: int) -> Sample:
    """Return the times of the arithmetic alone."""
    model = build(PlainModel, data.config, steps + WARM_UP + 1)
    arithmetic(model, batches, data.config.use_cuda)
    return model.sample(WARM_UP)


def half(train: Any, model_class: type[Any], data: LoadedData, steps: int) -> Sample:
    """Return the times of a half."""
    model = build(model_class, data.config, steps + WARM_UP + 1)
    train(model, data)
    return model.sample(WARM_UP)


def measure_point(
    data: LoadedData, parameters: int, batch_size: int, rounds: int
) -> dict[str, Any]:
    """Return the times of one model with one batch size."""
    width = hidden_dim(parameters)
    data = data.changed(
        batch_size=batch_size,
        hidden_dim=width,
        limit_train_batches=None,
        limit_val_batches=1,
    )
    data = enough_images(data, batch_size * (MOST + WARM_UP + 1))
    some = list(islice(data.train_dataloader(), 2 + WARM_UP + 1))
    one = bare(some, data, 2)["clock"] / 1e6
    steps = max(LEAST, min(MOST, int(SECONDS / one)))
    batches = list(islice(data.train_dataloader(), steps + WARM_UP + 1))
    samples: Samples = take_turns(
        {
            "arithmetic": partial(bare, batches, data, steps),
            "plain": partial(half, plain_half, PlainModel, data, steps),
            "lightning": partial(half, lightning_half, LitModel, data, steps),
        },
        rounds,
    )
    return {
        "parameters": count(width),
        "batch_size": batch_size,
        "steps": steps,
        "samples": samples,
    }


def measure(data: LoadedData, rounds: int) -> list[dict[str, Any]]:
    """Return the times of all points."""
    return [measure_point(data, *point, rounds) for point in POINTS]
