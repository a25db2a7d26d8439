"""The options of the lesson `debugging`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from shared.options import train
from shared.options.checks import check_range, option_name
from shared.runtime.errors import UsageError


@dataclass(frozen=True)
class Config(train.Config):
    """A training to find bugs with.

    A limit is a number of batches or a share of all: 1 is one batch, 1.0 are all.
    """

    fast_dev_run: int = 0
    """Dry run: this many batches of training and of validation, and no files."""
    limit_train_batches: int | float | None = None  # type: ignore[assignment]
    """Train on this many batches per epoch, or on this share of all, such as 0.1."""
    limit_val_batches: int | float | None = None  # type: ignore[assignment]
    """Validate on this many batches, or on this share of all, such as 0.1."""
    overfit_batches: int | float = 0
    """Train and validate on this many batches, or this share, the same each epoch."""
    detect_anomaly: bool = False
    """Raise an error where a backward pass makes a nan, and print the line; slow."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, ("fast_dev_run",), at_least=0)
        limits = self.limit_train_batches or self.limit_val_batches
        if self.overfit_batches and (limits or self.fast_dev_run):
            raise UsageError(
                "--overfit-batches is a limit itself: leave the other limits and"
                " --fast-dev-run out"
            )

    def check_limits(self) -> None:
        """Check that each limit is a number of batches or a share of them."""
        limits = {
            "limit_train_batches": self.limit_train_batches,
            "limit_val_batches": self.limit_val_batches,
            "overfit_batches": self.overfit_batches or None,
        }
        for name, limit in limits.items():
            if limit is None:
                continue
            if not (0 < limit <= 1 if isinstance(limit, float) else limit >= 1):
                raise UsageError(
                    f"{option_name(name)} {limit}: must be a number of batches, from 1,"
                    " or a share of them, above 0.0 and up to 1.0"
                )

    def make_run_dir(self, parent: Path) -> Path:
        """Make and return the folder of the run; that of a dry run is never made."""
        return parent / "dry_run" if self.fast_dev_run else super().make_run_dir(parent)

    def for_comparison(self) -> Self:
        """Return the options, unless they are those of a dry run."""
        if self.fast_dev_run:
            raise UsageError("--fast-dev-run leaves no files that could be compared")
        return self
