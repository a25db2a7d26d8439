"""The options of the lesson `schedule`."""

from dataclasses import dataclass
from typing import Literal

from shared.options import train


@dataclass(frozen=True)
class Config(train.Config):
    """The options of a training whose learning rate changes."""

    lr_scheduler: Literal["step", "cosine", "one-cycle", "plateau"] = "step"
    """step halves the learning rate after every epoch. cosine lets it fall to zero
    along half a cosine. one-cycle lets it rise and then fall, a little after every
    step. plateau halves it after an epoch whose validation loss is no better."""
