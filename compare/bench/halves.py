"""The trainings of both halves, as they are timed."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from lightning.train import Data
from shared.options.train import Config as TrainConfig

PLAIN, LIGHTNING = "plain half", "Lightning half"


def load(config: TrainConfig) -> Data:
    """Return the data, ready to train."""
    data = Data(config)
    data.prepare_data()
    data.setup("fit")
    return data


def build(model_class: type[Any], config: TrainConfig) -> Any:
    """Return a new model, always with the same weights."""
    torch.manual_seed(config.seed)
    return model_class(config.hidden_dim, config.latent_dim, config.learning_rate)


def train(
    half: Any, config: TrainConfig, data: Any, model_class: type[Any] | None = None
) -> Any:
    """Train a new model with the `fit` of a lesson, and return it.

    Args:
        half: a module, such as plain_pytorch.train.
        config: the options of the lesson.
        data: as `load` returns it.
        model_class: another model than that of the module.
    """
    model = build(model_class or half.Model, config)
    with TemporaryDirectory() as folder:
        half.fit(model, data, config, Path(folder))
    return model
