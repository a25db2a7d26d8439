"""Exceptions that reach the user as one line, without a traceback."""

from math import isfinite


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
