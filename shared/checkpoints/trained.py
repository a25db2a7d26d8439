"""A model that a lesson has trained: its newest checkpoint, and what is in one."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from shared.backbones import Classifier
from shared.checkpoints.whole_files import CheckpointError, read_checkpoint
from shared.model import AutoEncoder
from shared.runtime.errors import UserError


def newest_best(output_dir: Path, option: str = "--ckpt-path") -> Path:
    """Return the `best.ckpt` of an autoencoder that was written last, by either half.

    Args:
        output_dir: has the runs of all lessons, and those of `make compare`; the models
            of the lesson transfer are classifiers, and do not count.
        option: names a checkpoint, as the error says.

    Raises:
        UserError: there is none.
    """
    found = [
        path
        for path in output_dir.glob("*/*/*/checkpoints/best.ckpt")
        if path.relative_to(output_dir).parts[0] != "transfer"
    ]
    if not found:
        raise UserError(
            f"no best.ckpt of a run in {output_dir}: train first (make plain), or name"
            f" a checkpoint with {option}"
        )
    return max(found, key=lambda path: (path.stat().st_mtime_ns, path))


def read_model(path: Path) -> dict[str, Any]:
    """Return a checkpoint of an autoencoder, whose weights fit its `hyper_parameters`.

    Raises:
        CheckpointError: the file is damaged, or a checkpoint of something else.
    """
    return read_fitting(path, AutoEncoder, ("hidden_dim", "latent_dim"))


def read_classifier(path: Path) -> dict[str, Any]:
    """Return a checkpoint of the lesson transfer, checked as `read_model` does.

    Raises:
        CheckpointError: the file is damaged, or a checkpoint of something else.
    """
    return read_fitting(path, Classifier, ("backbone", "hidden_dim", "latent_dim"))


def read_fitting(
    path: Path, model_class: Callable[..., nn.Module], arguments: Sequence[str]
) -> dict[str, Any]:
    """Return a checkpoint whose weights fit the model of its `hyper_parameters`.

    Args:
        path: the file.
        model_class: the class of the model.
        arguments: those hyper-parameters that the class takes.

    Raises:
        CheckpointError: the file is damaged, or a checkpoint of something else.
    """
    checkpoint = read_checkpoint(path)
    try:
        with torch.device("meta"):  # no memory, whatever size the file claims
            sizes = {name: checkpoint["hyper_parameters"][name] for name in arguments}
            model_class(**sizes).load_state_dict(checkpoint["state_dict"], assign=True)
    except Exception as error:  # a file of something else can make it raise anything
        raise CheckpointError(
            f"{path} is not a checkpoint of the class {model_class.__name__}: take a"
            " best.ckpt or last.ckpt of another lesson"
        ) from error
    return checkpoint
