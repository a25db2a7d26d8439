"""The options of the lesson `hooks`."""

from dataclasses import dataclass

from shared.options.checks import check_range
from shared.options.train import TrainConfig


@dataclass(frozen=True)
class HooksConfig(TrainConfig):
    """The options of a training whose learning rate warms up."""

    warmup_steps: int = 100
    """Steps in which the learning rate rises to its full value."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, ("warmup_steps",), at_least=1)
