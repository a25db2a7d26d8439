"""The options of the lesson `fabric`."""

from dataclasses import dataclass
from typing import Literal

from shared.options import distributed


@dataclass(frozen=True)
class Config(distributed.Config):
    """A training by several processes, in 16 or in 32 bits."""

    precision: Literal["32-true", "bf16-mixed"] = "bf16-mixed"
    """Bits of a number: 32, or 16 in the layers and 32 in weights and optimizer."""
