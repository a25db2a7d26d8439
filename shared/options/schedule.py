"""The options of the lesson `schedule`."""

from dataclasses import dataclass
from typing import Literal

from shared.options import train


@dataclass(frozen=True)
class Config(train.Config):
    """The options of a training whose learning rate changes."""

    lr_scheduler: Literal["step", "cosine", "one-cycle", "plateau"] = "step"
    """The schedule of the learning rate.
    - step: halve it after every epoch
    - cosine: let it fall to zero along half a cosine
    - one-cycle: let it rise and then fall, a little after every step
    - plateau: halve it after an epoch whose validation loss is no better"""
