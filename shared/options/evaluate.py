"""The options of the lesson `evaluate`."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from shared.checkpoints.trained import newest_best
from shared.options.checks import check_range
from shared.options.common import RunConfig


@dataclass(frozen=True)
class Config(RunConfig):
    """The options of an evaluation."""

    ckpt_path: Path | None = None
    """Checkpoint of either half; by default the newest best.ckpt in --output-dir."""
    limit_test_batches: int | None = None
    """Test on this many batches instead of all."""
    limit_predict_batches: int | None = None
    """Predict this many batches instead of all."""
    image: Path | None = None
    """Picture of your own to reconstruct: one digit, with a margin around it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        limits = ("limit_test_batches", "limit_predict_batches")
        check_range(self, limits, at_least=1)

    def for_comparison(self) -> Self:
        """Return the options with a checkpoint, the same for both halves."""
        return replace(self, ckpt_path=self.ckpt_path or newest_best(self.output_dir))
