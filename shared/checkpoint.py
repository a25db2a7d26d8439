"""Checkpoint files that are whole or not there."""

import contextlib
import io
import os
from pathlib import Path
from typing import Any

import torch

from shared.errors import UserError


def write_checkpoint(path: Path, checkpoint: dict[str, Any]) -> None:
    """Write a checkpoint under a temporary name, and rename it when it is whole.

    A disk that fills up on the way leaves what stood at `path`, and nothing else.

    Raises:
        UserError: the file cannot be written.
    """
    buffer = io.BytesIO()  # torch.save reports a full disk as an internal error
    torch.save(checkpoint, buffer)
    temporary = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(buffer.getvalue())
            file.flush()
            os.fsync(file.fileno())  # or a power cut may leave an empty file
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):  # the folder itself may be gone
            temporary.unlink()
