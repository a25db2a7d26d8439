"""The options of `under_the_hood`: a run so short that its hooks can be read."""

from dataclasses import dataclass

from shared.options import train


@dataclass(frozen=True)
class Config(train.Config):
    """The options of the lesson `under_the_hood`."""

    max_epochs: int = 2
    """How many times to go through the training images."""
    limit_train_batches: int | None = 2
    """Train on this many batches per epoch instead of all."""
    limit_val_batches: int | None = 2
    """Validate on this many batches instead of all."""
