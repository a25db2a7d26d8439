"""The options of the lesson `precision`."""

from dataclasses import dataclass
from typing import Literal

from shared.options.optimization import ClipVal
from shared.options.train import TrainConfig
from shared.runtime.errors import UsageError


@dataclass(frozen=True)
class PrecisionConfig(TrainConfig):
    """The options of a training in 16 bits."""

    precision: Literal["32-true", "bf16-mixed", "16-mixed", "bf16-true"] = "bf16-mixed"
    """mixed calculates in 16 bits with weights of 32; bf16-true has 16 for all."""
    gradient_clip_val: ClipVal | None = None
    """Scale the gradient down where its norm is above this; None leaves it as it is."""
    compile: bool = False
    """Make one fast kernel of many small ones with torch.compile; takes a while."""

    def __post_init__(self) -> None:
        super().__post_init__()
        # A Trainer warns, and takes bf16-mixed.
        if self.precision == "16-mixed" and not self.use_cuda:
            raise UsageError("--precision 16-mixed needs a GPU: take bf16-mixed")
