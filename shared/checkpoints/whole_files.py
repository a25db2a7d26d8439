"""Checkpoint files: written whole or not at all, read without running their code.

The one writer and the one reader of all lessons and both halves. A checkpoint is a
dict with Lightning's keys; its weights are under `state_dict`.
"""

import contextlib
import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.serialization import get_unsafe_globals_in_checkpoint

from shared.runtime.errors import UserError


class CheckpointError(UserError):
    """A checkpoint that cannot be read, written or used: which one, why, what to do."""


def write_checkpoint(path: Path, checkpoint: dict[str, Any]) -> None:
    """Write a checkpoint under a temporary name, and rename it when it is whole.

    A disk that fills up on the way, or a value that cannot be saved, leaves what stood
    at `path`, and nothing else.

    Raises:
        CheckpointError: the file cannot be written, or could not be read again.
    """
    buffer = io.BytesIO()  # torch.save reports a full disk as an internal error
    try:
        torch.save(checkpoint, buffer)
        buffer.seek(0)
        unsafe = get_unsafe_globals_in_checkpoint(buffer)
    except (pickle.PickleError, AttributeError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be written: {error}") from error
    if unsafe:  # torch.save takes them; only torch.load would complain
        raise CheckpointError(
            f"{path} cannot be written: {', '.join(sorted(unsafe))} could not be loaded"
            " without running code; store numbers, text and tensors instead"
        )
    try:
        write_whole(path, buffer.getvalue())
    except OSError as error:
        raise CheckpointError(f"{path} cannot be written: {error.strerror}") from error


def write_whole(path: Path, content: bytes) -> None:
    """Write a file under a temporary name, and rename it when it is whole.

    When this returns, the file is on the disk under its name, and a power cut cannot
    take it away.

    Raises:
        OSError: the file cannot be written. What stood at `path` is as it was.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # or a power cut may leave an empty file
        temporary.replace(path)
        sync_folder(path.parent)
    finally:
        with contextlib.suppress(OSError):  # the folder itself may be gone
            temporary.unlink()


def sync_folder(folder: Path) -> None:
    """Bring a folder's list of names to the disk, or a power cut may undo a rename."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return a checkpoint, all its tensors on the CPU, once every byte is verified.

    No code that a file may hold is run, whatever the environment asks for.

    Raises:
        CheckpointError: the file is missing, damaged, or no checkpoint.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = f"cannot be read: {error.strerror}"
        raise CheckpointError(f"{path} {reason}; name a .ckpt file of a run") from error
    if not content:
        raise CheckpointError(f"{path} is empty: take another checkpoint")
    if not content.startswith(b"PK"):
        raise CheckpointError(
            f"{path} is not a file of torch.save (a zip archive): take another file"
        )
    verified = repack(path, content)
    try:
        checkpoint = torch.load(verified, map_location="cpu", weights_only=True)
    except Exception as error:  # a crafted file can make the unpickler raise anything
        raise CheckpointError(
            f"{path} is not a checkpoint that can be read without running its code"
            f" ({type(error).__name__}): take another one, from a source you trust"
        ) from error
    weights = checkpoint.get("state_dict") if isinstance(checkpoint, dict) else None
    if not isinstance(weights, dict) or not weights:
        raise CheckpointError(
            f"{path} has no weights under the key state_dict: take a checkpoint that"
            ' a lesson wrote, or save {"state_dict": model.state_dict()}'
        )
    if not all(isinstance(weight, Tensor) for weight in weights.values()):
        raise CheckpointError(f"{path} has weights that are no tensors: take another")
    return checkpoint


def repack(path: Path, content: bytes) -> io.BytesIO:
    """Return the parts of a file as a new zip archive, each equal to its checksum.

    torch.load compares no checksums. And the archive's table of contents has none: if
    it is damaged, torch.load can read wrong numbers, so it gets a new one.

    Raises:
        CheckpointError: the file is truncated, or a byte has changed.
    """
    buffer = io.BytesIO()
    try:
        with (
            zipfile.ZipFile(io.BytesIO(content)) as given,
            zipfile.ZipFile(buffer, "w") as verified,
        ):
            for part in given.infolist():
                if part.compress_type != zipfile.ZIP_STORED:
                    raise zipfile.BadZipFile("torch.save compresses nothing")
                verified.writestr(part.filename, given.read(part))
    except Exception as error:  # a flipped bit can ask for a password, too, or memory
        raise CheckpointError(
            f"{path} is truncated or damaged: take another checkpoint, or train again"
        ) from error
    buffer.seek(0)
    return buffer


def load_weights(model: nn.Module, checkpoint: dict[str, Any], path: Path) -> None:
    """Put the weights of a checkpoint into a model, on whatever device it is.

    Raises:
        CheckpointError: see `check_weights`.
    """
    check_weights(model, checkpoint, path)
    model.load_state_dict(checkpoint["state_dict"])


def check_weights(model: nn.Module, checkpoint: dict[str, Any], path: Path) -> None:
    """Check that the weights of a checkpoint are those of a model of this architecture.

    Args:
        model: the model that is to have them.
        checkpoint: what `read_checkpoint` has returned.
        path: where it came from, for the error.

    Raises:
        CheckpointError: a weight is missing, left over, or of another shape.
    """
    weights, expected = checkpoint["state_dict"], model.state_dict()
    for name in dict.fromkeys([*expected, *weights]):
        here, there = (
            tuple(state[name].shape) if name in state else "missing"
            for state in (expected, weights)
        )
        if here != there:
            raise CheckpointError(
                f"{path} is of another architecture: {name} is {there} in the file and"
                f" {here} in the model; give --hidden-dim and --latent-dim as then"
            )
