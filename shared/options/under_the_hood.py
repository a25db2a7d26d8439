"""The options of the lesson `under_the_hood`."""

from dataclasses import dataclass

from shared.options import train


@dataclass(frozen=True)
class Config(train.Config):
    """A training so short that the list of its hooks can be read."""

    max_epochs: int = 2
    """Number of passes through the training images."""
    limit_train_batches: int | None = 2
    """Train on this many batches per epoch instead of all."""
    limit_val_batches: int | None = 2
    """Validate on this many batches instead of all."""
