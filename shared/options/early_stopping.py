"""The options of the lesson `early_stopping`."""

from dataclasses import dataclass

from shared.options import train
from shared.options.checks import check_range


@dataclass(frozen=True)
class Config(train.Config):
    """The options of a training that can end before its last epoch."""

    patience: int = 3
    """Stop after this many epochs in a row without a better validation loss."""
    min_delta: float = 0.0
    """A loss counts as better if it is lower than the best one by more than this."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, ("patience",), at_least=1)
        check_range(self, ("min_delta",), at_least=0)
