"""The options of the lesson `accumulation`."""

from dataclasses import dataclass

from shared.options import train
from shared.options.checks import check_range


@dataclass(frozen=True)
class Config(train.Config):
    """The options of a training that takes one step for several batches."""

    accumulate_grad_batches: int = 4
    """Take a step after this many batches, whose gradients are added up."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, ("accumulate_grad_batches",), at_least=1)
