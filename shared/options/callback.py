"""The options of the lesson `callback`."""

from dataclasses import dataclass

from shared.options import train
from shared.options.checks import check_range


@dataclass(frozen=True)
class Config(train.Config):
    """A training that draws pictures on the way."""

    every_n_epochs: int = 1
    """Epochs from one picture of reconstructions to the next."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, ("every_n_epochs",), at_least=1)
