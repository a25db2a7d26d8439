"""The options of the lesson `clipping`."""

from dataclasses import dataclass
from math import inf
from typing import Literal

from shared.options import train
from shared.runtime.errors import UsageError


@dataclass(frozen=True)
class Config(train.Config):
    """The options of a training with a limit for the gradient."""

    gradient_clip_val: float = 0.1
    """Limit of the gradient; a larger one is reduced to it."""
    gradient_clip_algorithm: Literal["norm", "value"] = "norm"
    """Limit the norm of all gradients together, or the value of each number alone."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.gradient_clip_val < inf:
            raise UsageError("--gradient-clip-val must be above 0 and finite")
