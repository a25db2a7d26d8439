"""The options of every training."""

from dataclasses import dataclass
from math import inf

from shared.options.checks import check_range
from shared.options.common import RunConfig
from shared.runtime.errors import UsageError


@dataclass(frozen=True)
class Config(RunConfig):
    """The options of every training."""

    max_epochs: int = 3
    """Number of passes through the training images."""
    learning_rate: float = 1e-3
    """Learning rate of the optimizer."""
    hidden_dim: int = 64
    """Width of the model's hidden layers."""
    latent_dim: int = 3
    """Number of values with which the model describes an image."""
    limit_train_batches: int | None = None
    """Train on this many batches per epoch instead of all."""
    limit_val_batches: int | None = None
    """Validate on this many batches instead of all."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, ("max_epochs", "hidden_dim", "latent_dim"), at_least=1)
        self.check_limits()
        if not 0 < self.learning_rate < inf:
            raise UsageError("--learning-rate must be above 0 and finite")

    def check_limits(self) -> None:
        """Check the limits, which can also be shares in the lesson debugging."""
        limits = ("limit_train_batches", "limit_val_batches")
        check_range(self, limits, at_least=1)
