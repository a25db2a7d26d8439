"""The options of `under_the_hood`: a run so short that its hooks can be read."""

from dataclasses import dataclass

from shared.options.train import Count, TrainConfig


@dataclass(frozen=True)
class UnderTheHoodConfig(TrainConfig):
    """The options of the lesson `under_the_hood`."""

    max_epochs: Count = 2
    """How many times to go through the training images."""
    limit_train_batches: Count | None = 2
    """Train on this many batches an epoch instead of all."""
    limit_val_batches: Count | None = 2
    """Validate on this many batches instead of all."""
    limit_test_batches: Count | None = 1
    """Test on this many batches instead of all."""
    limit_predict_batches: Count | None = 1
    """Predict this many batches instead of all."""
