"""The options of the lesson `precision`."""

from dataclasses import dataclass
from typing import Literal

from shared.options import train
from shared.options.checks import check_range
from shared.runtime.errors import UsageError


@dataclass(frozen=True)
class Config(train.Config):
    """A training in 16 bits."""

    precision: Literal["bf16-mixed", "16-mixed"] = "bf16-mixed"
    """Kind of 16 bits: bfloat16, or, on a GPU, float16 with a gradient scaler."""
    gradient_clip_val: float | None = None
    """Scale the gradient down where its norm is above this; None leaves it as it is."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, ("gradient_clip_val",), at_least=0)
        # A Trainer warns, and takes bf16-mixed.
        if self.precision == "16-mixed" and not self.use_cuda:
            raise UsageError("--precision 16-mixed needs a GPU: take bf16-mixed")
