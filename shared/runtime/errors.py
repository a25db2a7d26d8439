"""Exceptions that reach the user as one line, without a traceback."""

from collections.abc import Collection
from math import isfinite
from traceback import walk_tb


class UserError(Exception):
    """What the user can mend: one line that names the problem and the way out."""

    exit_status = 1


class UsageError(UserError):
    """A command line that asks for what does not exist or cannot be."""

    exit_status = 2


def require_finite(
    name: str, loss: float, step: int, batch_idx: int | None = None
) -> None:
    """Stop a run whose loss is nan or infinite, instead of training on with it.

    Args:
        name: which loss, as the user reads it.
        loss: its value; `loss.item()` waits for a GPU to have computed it.
        step: the number of optimizer steps taken so far.
        batch_idx: the batch of the epoch that has this loss, counted from 0; None where
            it is a mean over batches.

    Raises:
        UserError: the loss is not finite.
    """
    if not isfinite(loss):
        where = (
            f"step {step}" if batch_idx is None else f"step {step}, batch {batch_idx}"
        )
        raise UserError(f"the {name} is {loss} at {where}: lower --learning-rate")


def raised_by(error: Exception, packages: Collection[str]) -> bool:
    """Return whether a library has raised an error by itself, when it was called.

    So it does for what it is given. An error in a step or a hook of ours, which a
    library has called, or in torch is none of these: it is a bug to be seen.

    Args:
        error: as caught in the function that has called the library.
        packages: of the library. An `__init__` of ours may pass arguments on to it.
    """
    frames = [frame for frame, _ in walk_tb(error.__traceback__)][1:]
    names = [frame.f_globals.get("__name__", "").split(".")[0] for frame in frames]
    passed = {
        name
        for frame, name in zip(frames, names, strict=True)
        if frame.f_code.co_name != "__init__"
    }
    return (
        names[-1:] != []
        and names[-1] in packages
        and passed <= {*packages, "torch", "contextlib"}
    )
