"""A callback with which a Trainer goes on exactly, whatever stops it."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from shared.checkpoints.lightning_format import (
    from_callbacks,
    from_loops,
    to_callbacks,
    to_loops,
)
from shared.checkpoints.resume import describe
from shared.checkpoints.rng import get_rng_states, set_rng_states
from shared.options.resume import Config as ResumeConfig
from shared.runtime.signals import (
    exit_if_signalled,
    hold_signals,
    release_signals,
    signalled,
)


class Resumable(pl.Callback):
    """Saves between two steps, and adds to every checkpoint what a Trainer leaves out.

    ModelCheckpoint(every_n_train_steps=...) saves before the Trainer has logged the
    step: a run that is killed at that moment lacks a point of its curve.

    Args:
        config: the options.
        path: the file to go on from.
    """

    def __init__(self, config: ResumeConfig, path: Path) -> None:
        self.config, self.path = config, path

    def on_save_checkpoint(
        self, trainer: pl.Trainer, model: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the random states, and what `read_resumable` compares."""
        checkpoint |= describe(self.config, trainer.datamodule)  # type: ignore[attr-defined]
        checkpoint["rng_states"] = get_rng_states()
        # A Trainer counts the next step as begun, and would log it one step late.
        checkpoint["loops"] = to_loops(from_loops(checkpoint["loops"]))

    def on_load_checkpoint(
        self, trainer: pl.Trainer, model: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Load the random states, and the best epochs under their paths of today."""
        best = from_callbacks(checkpoint["callbacks"], self.path.parent)
        checkpoint["callbacks"] |= to_callbacks(best)
        set_rng_states(checkpoint["rng_states"])

    def on_train_start(self, trainer: pl.Trainer, model: pl.LightningModule) -> None:
        """Let signals wait until a step is done."""
        hold_signals()

    def on_train_batch_start(
        self, trainer: pl.Trainer, model: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Save if it is time, and end the run if a signal waits."""
        if trainer.global_step % self.config.every_n_train_steps == 0 or signalled():
            trainer.save_checkpoint(self.path, weights_only=False)
        exit_if_signalled()

    def on_train_end(self, trainer: pl.Trainer, model: pl.LightningModule) -> None:
        """End the run if a signal waits, and let no other wait."""
        release_signals()
