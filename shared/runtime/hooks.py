"""Record the hooks of a LightningModule and of its data, in the order of the calls."""

import inspect
import re
from collections.abc import Callable
from functools import wraps
from typing import Any

MODULES = {
    "pytorch_lightning.core.hooks": r"\w+",
    # A LightningModule has methods for its author, too, such as log and freeze.
    "pytorch_lightning.core.module": r"(on|configure|optimizer)_\w+|\w+_step|backward",
    "pytorch_lightning.core.datamodule": r"\w+",
    "pytorch_lightning.callbacks.callback": r"\w+",
}
"""The modules of Lightning that define hooks, and a pattern for their names."""


def hook_names(cls: type) -> set[str]:
    """Return every hook that the installed Lightning defines for a class.

    Args:
        cls: a subclass of LightningModule, LightningDataModule or Callback.
    """
    return {
        name
        for base in cls.__mro__
        for name, value in vars(base).items()
        if inspect.isfunction(value) and not name.startswith("_")
        if re.fullmatch(MODULES.get(base.__module__, ""), name)
    }


def record_hooks(**parts: object) -> list[str]:
    """Return a list that grows by one line with every call of a hook.

    The line is `model.training_step`, for example. It is indented below the line of the
    hook that has called it.

    Args:
        parts: a LightningModule and a LightningDataModule, by the names to show.
    """
    calls: list[str] = []
    depth = 0

    def recorded(line: str, hook: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(hook)  # so a Trainer can still tell which hooks are overridden
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal depth
            calls.append("    " * depth + line)
            depth += 1
            try:
                return hook(*args, **kwargs)
            finally:
                depth -= 1

        return call

    for name, part in parts.items():
        for hook in hook_names(type(part)):
            setattr(part, hook, recorded(f"{name}.{hook}", getattr(part, hook)))
    return calls
