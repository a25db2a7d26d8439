"""A model that a lesson has trained: its newest checkpoint, and what is in one."""

from pathlib import Path
from typing import Any

import torch

from shared.checkpoints.whole_files import CheckpointError, read_checkpoint
from shared.model import AutoEncoder
from shared.runtime.errors import UserError


def newest_best(output_dir: Path, option: str = "--ckpt-path") -> Path:
    """Return the `best.ckpt` of an autoencoder that was written last, by either half.

    Args:
        output_dir: the folder of all runs, also those of `make compare`. The models of
            the lesson transfer do not count: they are classifiers.
        option: the option that names a checkpoint, for the error.

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
    checkpoint = read_checkpoint(path)
    try:
        sizes = checkpoint["hyper_parameters"]
        with torch.device("meta"):  # no memory, whatever sizes the file claims
            model = AutoEncoder(sizes["hidden_dim"], sizes["latent_dim"])
        model.load_state_dict(checkpoint["state_dict"], assign=True)
    except Exception as error:  # a file of something else can make it raise anything
        raise CheckpointError(
            f"{path} is not a checkpoint of an autoencoder: take a best.ckpt or"
            " last.ckpt of another lesson"
        ) from error
    return checkpoint
