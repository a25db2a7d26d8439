"""Train encoder and decoder in turns, with manual optimization.

python -m lightning.two_optimizers --decoder-learning-rate 0.01
"""

from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint, TQDMProgressBar
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor

from shared.data import Batch, MNISTData
from shared.model import AutoEncoder
from shared.options.common import LOG_EVERY_N_STEPS
from shared.options.two_optimizers import Config
from shared.runtime.command import run


# 1. The model: its loss on a batch, and its optimizer.
class Model(AutoEncoder, pl.LightningModule):
    """The shared model, and how it learns."""

    def __init__(
        self,
        hidden_dim: int,
        latent_dim: int,
        learning_rate: float,
        decoder_learning_rate: float,
    ) -> None:
        super().__init__(hidden_dim, latent_dim)
        self.save_hyperparameters()
        self.automatic_optimization = False  # training_step takes the steps

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, _ = batch
        for optimizer in self.optimizers():
            with self.toggled_optimizer(optimizer):
                loss = self.reconstruction_loss(images)
                optimizer.zero_grad()
                self.manual_backward(loss)
                optimizer.step()
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, _ = batch
        loss = self.reconstruction_loss(images)
        self.log("val_loss", loss, prog_bar=True)
        return loss

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        lr = self.hparams["learning_rate"]
        decoder_lr = self.hparams["decoder_learning_rate"]
        return [
            torch.optim.Adam(self.encoder.parameters(), lr=lr),
            torch.optim.Adam(self.decoder.parameters(), lr=decoder_lr),
        ]


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
        # the device and calls training_step.
        # Optimizers: they take turns, each on a new loss.
        # training_step calls zero_grad, manual_backward and step.
        # Validation: the mean loss, weighted by batch size.
        # The Trainer calls eval, no_grad and validation_step; self.log takes the mean.
        # Checkpoints: the best and the last.
        callbacks=[
            ModelCheckpoint(run_dir / "checkpoints", "best", monitor="val_loss"),
            # save_last=True would save the last epoch only if it is the best as well.
            ModelCheckpoint(run_dir / "checkpoints", "last"),
            TQDMProgressBar(refresh_rate=LOG_EVERY_N_STEPS),
        ],
    )
    trainer.fit(model, datamodule=data)


# 3. The run.
def main(config: Config, run_dir: Path) -> None:
    """Train a new model."""
    pl.seed_everything(config.seed, verbose=False)
    model = Model(
        config.hidden_dim,
        config.latent_dim,
        config.learning_rate,
        config.decoder_learning_rate,
    )
    data = Data(config)
    fit(model, data, config, run_dir)


if __name__ == "__main__":
    run(main)
