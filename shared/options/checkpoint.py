"""The options of the lesson `checkpoint`."""

from dataclasses import dataclass
from pathlib import Path

from shared.options import train
from shared.options.checks import check_range


@dataclass(frozen=True)
class Config(train.Config):
    """The options of a training that saves, and goes on from what was saved."""

    ckpt_path: Path | None = None
    """Checkpoint of either half to go on from, saved at an epoch's end."""
    save_top_k: int = 1
    """Keep this many of the best epochs; 0 keeps none, -1 all of them."""
    save_last: bool = True
    """Save the last epoch, too."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, ("save_top_k",), at_least=-1)
