"""The options of the lesson `debugging`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from shared.data import MNISTData
from shared.options.train import Count, TrainConfig, option_name
from shared.runtime.errors import UsageError


@dataclass(frozen=True)
class DebuggingConfig(TrainConfig):
    """A training to find bugs with; limits are a number of batches or a share of all.

    1 is one batch and 1.0 all of them, as in Lightning.
    """

    fast_dev_run: Count | None = field(
        default=None, metadata={"nargs": "?", "const": 1}
    )
    """Dry run: so many batches of each kind, 1 if no number is given, and no files."""
    limit_train_batches: int | float | None = None  # type: ignore[assignment]
    """Train on this many batches an epoch instead of all, or this share: 0.1."""
    limit_val_batches: int | float | None = None  # type: ignore[assignment]
    """Validate on this many batches instead of all, or this share: 0.1."""
    limit_test_batches: int | float | None = None  # type: ignore[assignment]
    """Test on this many batches instead of all, or this share: 0.1."""
    overfit_batches: int | float | None = None
    """Train and validate on so many batches, or this share, the same in every epoch."""
    profiler: Literal["none", "simple", "pytorch"] = "none"
    """What takes the time: simple prints a table, pytorch writes a trace for Chrome."""
    detect_anomaly: bool = False
    """Raise where a backward pass computes nan, and print the forward line; slow."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, limit in self.limits().items():
            share = isinstance(limit, float)
            if not (0 < limit <= 1 if share else limit >= 1):
                raise UsageError(
                    f"{option_name(name)}: {limit} is neither a number of batches, from"
                    " 1, nor a share of them, above 0.0 and up to 1.0"
                )
        if self.fast_dev_run and self.overfit_batches:
            raise UsageError("--fast-dev-run has no use with --overfit-batches")
        if self.fast_dev_run and self.profiler == "pytorch":
            raise UsageError(
                "--fast-dev-run leaves no files, and --profiler pytorch writes one: use"
                " --max-epochs 1 --limit-train-batches 5"
            )

    def limits(self) -> dict[str, int | float]:
        """Return the limits that are given, by the names of their fields."""
        names = [name for name in vars(self) if name.endswith("_batches")]
        return {
            name: vars(self)[name] for name in names if vars(self)[name] is not None
        }

    def make_run_dir(self, parent: Path) -> Path:
        """Make and return the folder of a new run; that of a dry run is never made."""
        return parent / "dry_run" if self.fast_dev_run else super().make_run_dir(parent)

    def require_batches(self, data: MNISTData) -> None:
        """Prepare the data, and refuse a share of it that is less than one batch.

        Before the training: a share of the test images counts only after it.

        Raises:
            UsageError: a limit leaves nothing.
        """
        shares = {n: s for n, s in self.limits().items() if isinstance(s, float)}
        if not shares or self.fast_dev_run:
            return
        data.prepare_data()
        data.setup("fit")
        data.setup("test")
        train, val = len(data.train_dataloader()), len(data.val_dataloader())
        lengths = {
            "limit_train_batches": train,
            "limit_val_batches": val,
            "limit_test_batches": len(data.test_dataloader()),
            "overfit_batches": min(train, val),
        }
        for name, share in shares.items():
            if int(lengths[name] * share) == 0:
                raise UsageError(
                    f"{option_name(name)}: {share} of {lengths[name]} batches is less"
                    " than one"
                )
