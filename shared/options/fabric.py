"""The options of the lesson `fabric`."""

from dataclasses import dataclass
from typing import Literal

from shared.options import distributed


@dataclass(frozen=True)
class Config(distributed.Config):
    """A training by several processes, in 16 or in 32 bits."""

    precision: Literal["32-true", "bf16-mixed"] = "bf16-mixed"
    """32-true is 32 bits; bf16-mixed is 16 in the layers, 32 in the weights."""
