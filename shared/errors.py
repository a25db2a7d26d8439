"""Exceptions that reach the user as one line, without a traceback."""

import torch
from torch import Tensor


class UserError(Exception):
    """What the user can mend: one line that names the problem and the way out."""

    exit_status = 1


class UsageError(UserError):
    """A command line that asks for what does not exist or cannot be."""

    exit_status = 2


def require_finite(name: str, loss: Tensor | float, step: int) -> None:
    """Stop a run whose loss is nan or infinite, instead of training on with it.

    Args:
        name: which loss, as the user reads it.
        loss: a scalar; one on a GPU is waited for.
        step: the number of optimizer steps taken so far.

    Raises:
        UserError: the loss is not finite.
    """
    if not torch.as_tensor(loss).isfinite():
        raise UserError(f"the {name} is {loss:f} at step {step}: lower --learning-rate")
