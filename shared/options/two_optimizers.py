"""The options of the lesson `two_optimizers`."""

from dataclasses import dataclass
from math import inf

from shared.options import train
from shared.runtime.errors import UsageError


@dataclass(frozen=True)
class Config(train.Config):
    """The options of a training with an optimizer for each part of the model."""

    decoder_learning_rate: float = 1e-3
    """Learning rate of the decoder; --learning-rate is that of the encoder."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.decoder_learning_rate < inf:
            raise UsageError("--decoder-learning-rate must be above 0 and finite")
