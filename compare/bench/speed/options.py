"""The options of `compare.bench.speed`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from compare.bench.measured import MeasureConfig
from shared.options.train import Count
from shared.runtime.errors import UsageError

PARTS = ("ladder", "sizes", "startup", "input", "profile")
WARM_UP = 20
"""Steps at the start of each epoch that are not counted."""

if TYPE_CHECKING:
    Parts = list[str]
else:  # to the parser, each of several words
    Parts = Literal[PARTS]


@dataclass(frozen=True)
class SpeedConfig(MeasureConfig):
    """What to measure, and how often."""

    parts: Parts = field(default_factory=lambda: [*PARTS], metadata={"nargs": "+"})
    """What to measure."""
    rounds: Count = 5
    """How often each way to train takes its turn."""
    limit_train_batches: Count | None = 120
    """Steps of an epoch; the first 20 are not counted."""
    max_epochs: Count = 2
    """Epochs of a turn."""
    limit_val_batches: Count | None = 10
    """Validate on this many batches instead of all."""
    limit_test_batches: Count | None = 10
    """Test on this many batches instead of all."""
    plot: Path | None = None
    """Draw the part `sizes` into this file (.png, .svg or .pdf)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rounds < 2:
            raise UsageError("--rounds must be 2 or more: a spread needs two numbers")
        limit = self.limit_train_batches
        if limit is not None and limit < WARM_UP + 2:
            raise UsageError(f"--limit-train-batches must be {WARM_UP + 2} or more")
        if self.plot and self.plot.suffix not in (".png", ".svg", ".pdf"):
            raise UsageError("--plot must end in .png, .svg or .pdf")
        if self.plot and "sizes" not in self.parts:
            raise UsageError("--plot draws the part sizes, which is not in --parts")
