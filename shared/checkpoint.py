"""Checkpoint files that are whole or not there."""

import io
from pathlib import Path
from typing import Any

import torch

from shared.errors import UserError


def write_checkpoint(path: Path, checkpoint: dict[str, Any]) -> None:
    """Write a checkpoint under a passing name, and rename it when it is whole.

    A disk that fills up on the way leaves what stood at `path`, and nothing else.

    Raises:
        UserError: the file cannot be written.
    """
    buffer = io.BytesIO()  # torch.save reports a full disk as an internal error
    torch.save(checkpoint, buffer)
    passing = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        passing.write_bytes(buffer.getvalue())
        passing.replace(path)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        passing.unlink(missing_ok=True)
