"""Change the learning rate by a schedule, and log it, with a Trainer.

python -m lightning.schedule --lr-scheduler one-cycle
"""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import (
    LearningRateMonitor,
    ModelCheckpoint,
    TQDMProgressBar,
)
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LRScheduler,
    OneCycleLR,
    ReduceLROnPlateau,
    StepLR,
)

from shared.data import Batch, MNISTData
from shared.model import AutoEncoder
from shared.options.common import LOG_EVERY_N_STEPS
from shared.options.schedule import Config
from shared.runtime.command import run


# 1. The model: its loss on a batch, and its optimizer.
class Model(AutoEncoder, pl.LightningModule):
    """The shared model, and how it learns."""

    def __init__(
        self, hidden_dim: int, latent_dim: int, learning_rate: float, lr_scheduler: str
    ) -> None:
        super().__init__(hidden_dim, latent_dim)
        self.save_hyperparameters()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, _ = batch
        loss = self.reconstruction_loss(images)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, _ = batch
        loss = self.reconstruction_loss(images)
        self.log("val_loss", loss, prog_bar=True)
        return loss

    def configure_optimizers(self) -> Any:
        max_epochs: Any = self.trainer.max_epochs
        max_steps: Any = self.trainer.estimated_stepping_batches
        learning_rate = self.hparams["learning_rate"]
        optimizer = torch.optim.Adam(self.parameters(), lr=learning_rate)
        match self.hparams["lr_scheduler"]:
            case "step":
                scheduler: LRScheduler = StepLR(optimizer, step_size=1, gamma=0.5)
            case "cosine":
                scheduler = CosineAnnealingLR(optimizer, max_epochs)
            case "one-cycle":
                scheduler = OneCycleLR(optimizer, learning_rate, max_steps)
            case "plateau":
                scheduler = ReduceLROnPlateau(optimizer, factor=0.5, patience=0)
        # The monitor is for ReduceLROnPlateau only.
        interval = "step" if isinstance(scheduler, OneCycleLR) else "epoch"
        schedule = {"scheduler": scheduler, "interval": interval, "monitor": "val_loss"}
        return {"optimizer": optimizer, "lr_scheduler": schedule}


class Data(MNISTData, pl.LightningDataModule):
    """The shared data, which already has the hooks of a LightningDataModule."""


# 2. The loop: for every epoch, for every batch, one step.
def fit(model: Model, data: Data, config: Config, run_dir: Path) -> None:
    """Train, and validate after every epoch."""
    trainer = pl.Trainer(
        # Data: one process downloads it.
        # The Trainer calls prepare_data, setup and the dataloader methods.
        # Device.
        accelerator="cuda" if config.use_cuda else "cpu",
        devices=1,
        # Optimizer.
        # The Trainer calls configure_optimizers.
        # Logging.
        logger=TensorBoardLogger(run_dir, name="", version="", default_hp_metric=False),
        log_every_n_steps=LOG_EVERY_N_STEPS,
        # Epochs.
        max_epochs=config.max_epochs,
        # Training.
        # The Trainer calls train and set_epoch; for every batch, it moves the batch to
        # the device and calls training_step, zero_grad, backward and step.
        # Schedule: after every step.
        # The Trainer calls step of a scheduler whose interval is "step".
        # Schedule: after every epoch.
        # The Trainer calls step of a scheduler whose interval is "epoch".
        # Validation: the mean loss, weighted by batch size.
        # The Trainer calls eval, no_grad and validation_step; self.log takes the mean.
        # Checkpoints: the best and the last.
        callbacks=[
            ModelCheckpoint(run_dir / "checkpoints", "best", monitor="val_loss"),
            # save_last=True would save the last epoch only if it is the best as well.
            ModelCheckpoint(run_dir / "checkpoints", "last"),
            LearningRateMonitor(logging_interval="step"),
            TQDMProgressBar(refresh_rate=LOG_EVERY_N_STEPS),
        ],
        # Schedule: after every validation.
        # The Trainer calls step(val_loss) of a ReduceLROnPlateau.
    )
    trainer.fit(model, datamodule=data)


# 3. The run.
def main(config: Config, run_dir: Path) -> None:
    """Train a new model."""
    pl.seed_everything(config.seed, verbose=False)
    model = Model(
        config.hidden_dim, config.latent_dim, config.learning_rate, config.lr_scheduler
    )
    data = Data(config)
    fit(model, data, config, run_dir)


if __name__ == "__main__":
    run(main)
