"""A model that a lesson has trained: its newest checkpoint, and what is in one."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from shared.backbones import BACKBONES, Classifier
from shared.checkpoints.whole_files import CheckpointError, read_checkpoint
from shared.model import AutoEncoder
from shared.runtime.errors import UserError


def newest_best(output_dir: Path, option: str = "--ckpt-path") -> Path:
    """Return the `best.ckpt` of an autoencoder that was written last, by either half.

    One of `make compare` counts, too, whose runs are in folders deeper down.

    Args:
        output_dir: has the runs of all lessons; those of transfer are classifiers.
        option: names a checkpoint, as the error says.

    Raises:
        UserError: there is none.
    """
    found = [
        path
        for path in output_dir.rglob("version_*/checkpoints/best.ckpt")
        if path.parents[2].name != "transfer"
    ]
    newest = max(found, key=lambda path: (path.stat().st_mtime_ns, path), default=None)
    if newest is None:
        raise UserError(
            f"no best.ckpt of a run in {output_dir}: train first (make plain), or name"
            f" a checkpoint with {option}"
        )
    return newest


def read_model(path: Path) -> dict[str, Any]:
    """Return a checkpoint of a lesson, once it is sure that it makes a model.

    `hyper_parameters` are the arguments of the model's class and fit the weights,
    which are finite; `global_step` is a number. What Lightning's load_from_checkpoint
    would find missing in a long traceback is found here.

    Raises:
        CheckpointError: the file is damaged, or something is missing or wrong in it.
    """
    return read_verified(path, ARGUMENTS, AutoEncoder, "a lesson")


def read_classifier(path: Path) -> dict[str, Any]:
    """Return a checkpoint of the lesson transfer, verified as `read_model` does.

    Raises:
        CheckpointError: the file is damaged, or something is missing or wrong in it.
    """
    return read_verified(
        path, {"backbone": BACKBONES, **ARGUMENTS}, Classifier, "the lesson transfer"
    )


def read_verified(
    path: Path,
    expected_arguments: Mapping[str, tuple[type | str, ...]],
    model_class: Callable[..., nn.Module],
    writer: str,
) -> dict[str, Any]:
    """Return a checkpoint, once its weights fit the model that its arguments make.

    Args:
        path: the file.
        expected_arguments: the types that each hyper-parameter may have, or its values.
        model_class: takes all of these arguments but the last, the learning rate.
        writer: who writes such checkpoints, for the error.

    Raises:
        CheckpointError: the file is damaged, or something is missing or wrong in it.
    """
    checkpoint = read_checkpoint(path)
    hint = f"take a checkpoint that {writer} wrote"
    arguments = checkpoint.get("hyper_parameters")
    if not isinstance(arguments, dict):
        raise CheckpointError(f"{path} has no hyper_parameters: {hint}")
    for name, kinds in expected_arguments.items():
        value: Any = arguments.get(name)
        # Wider layers than 2**24 fit in no memory, not even as shapes.
        named = isinstance(value, str) and value in kinds
        if not named and (type(value) not in kinds or not 0 < value < 2**24):
            raise CheckpointError(
                f"{path} has {value} as {name} in hyper_parameters: {hint}"
            )
    if any(str(name).startswith("_") for name in arguments):  # names a class to build
        raise CheckpointError(f"{path} was written by a LightningCLI: {hint}")
    checkpoint["hyper_parameters"] = {
        name: arguments[name] for name in expected_arguments
    }
    version = checkpoint.get("pytorch-lightning_version")
    if not re.fullmatch(r"\d+(\.\d+)+((rc|\.dev|\.?post)\d+)?", str(version)):
        raise CheckpointError(
            f"{path} has {version} as pytorch-lightning_version: {hint}"
        )
    step = checkpoint.get("global_step")
    if type(step) is not int or not 0 <= step < 2**63:
        raise CheckpointError(f"{path} has {step} as global_step: {hint}")
    weights = checkpoint["state_dict"]
    with torch.device("meta"):  # shapes only, whatever size the file claims
        *sizes, _ = checkpoint["hyper_parameters"].values()
        expected = model_class(*sizes).state_dict()
    shapes = (
        {name: state[name].shape for name in state} for state in (weights, expected)
    )
    if next(shapes) != next(shapes):
        raise CheckpointError(
            f"{path} has weights that its hyper_parameters do not describe: {hint}"
        )
    if not all(weight.isfinite().all() for weight in weights.values()):
        raise CheckpointError(
            f"{path} has weights that are not finite: take another checkpoint"
        )
    return checkpoint


ARGUMENTS = {"hidden_dim": (int,), "latent_dim": (int,), "learning_rate": (int, float)}
"""The arguments of PlainAutoEncoder and LitAutoEncoder, and the types of numbers."""
