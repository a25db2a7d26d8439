"""The options of the lesson `evaluate`."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

from shared.config import Config, Count
from shared.errors import UserError


@dataclass(frozen=True)
class EvaluateConfig(Config):
    """The options of an evaluation; --dataset auto means that of the checkpoint."""

    ckpt_path: Path | None = None
    """Checkpoint of either half; by default the newest best.ckpt in --output-dir."""
    limit_predict_batches: Count | None = None
    """Predict this many batches instead of all."""
    image: Path | None = None
    """Picture of your own to reconstruct: one digit, with some margin around it."""

    def with_dataset_of(self, checkpoint: Mapping[str, Any]) -> "EvaluateConfig":
        """Return the options with the data set that a checkpoint names, unless given.

        Raises:
            UserError: there is no data set of the name that the checkpoint has.
        """
        if self.dataset != "auto":
            return self
        dataset = checkpoint.get("dataset", "auto")
        known = get_args(get_type_hints(Config)["dataset"])
        if dataset not in known:
            raise UserError(
                f"the checkpoint is of the data set {dataset}: give another one of"
                f" {', '.join(known[1:])} with --dataset"
            )
        return replace(self, dataset=dataset)
