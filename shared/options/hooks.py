"""The options of the lesson `hooks`."""

from dataclasses import dataclass

from shared.options import train
from shared.options.checks import check_range


@dataclass(frozen=True)
class Config(train.Config):
    """The options of a training whose learning rate warms up."""

    warmup_steps: int = 100
    """Let the learning rate rise to its full value in this many steps."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, ("warmup_steps",), at_least=1)
