"""The options of the lesson `evaluate`."""

from dataclasses import dataclass
from pathlib import Path

from shared.options.train import Config, Count


@dataclass(frozen=True)
class EvaluateConfig(Config):
    """The options of an evaluation; --dataset auto means that of the checkpoint."""

    ckpt_path: Path | None = None
    """Checkpoint of either half; by default the newest best.ckpt in --output-dir."""
    limit_predict_batches: Count | None = None
    """Predict this many batches instead of all."""
    image: Path | None = None
    """Picture of your own to reconstruct: one digit, with some margin around it."""
