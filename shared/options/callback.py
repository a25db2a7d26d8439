"""The options of the lesson `callback`."""

from dataclasses import dataclass

from shared.options import train
from shared.options.checks import check_range


@dataclass(frozen=True)
class Config(train.Config):
    """The options of a training that draws pictures."""

    every_n_epochs: int = 1
    """Draw a picture after this many epochs."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, ("every_n_epochs",), at_least=1)
