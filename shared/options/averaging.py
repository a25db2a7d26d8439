"""The options of the lesson `averaging`."""

from dataclasses import dataclass
from typing import Literal

from shared.options import train
from shared.options.checks import check_range
from shared.runtime.errors import UsageError


@dataclass(frozen=True)
class Config(train.Config):
    """The options of a training that validates and saves an average of its weights."""

    weight_averaging: Literal["ema", "mean"] = "ema"
    """The average to validate and save.
    - ema: the exponential moving average over all steps
    - mean: the plain mean of the weights at the end of every epoch"""
    decay: float = 0.99
    """Share of the old average in the new one, at every step; for ema only."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, ("decay",), at_least=0, at_most=1)
        if self.weight_averaging == "mean" and self.decay != Config.decay:
            raise UsageError("--decay is for --weight-averaging ema only")
