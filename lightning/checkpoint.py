"""Save the best epochs and the last, and go on from one, with a Trainer.

python -m lightning.checkpoint --max-epochs 5 --ckpt-path last.ckpt
"""

from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint, TQDMProgressBar
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor, nn

from shared.checkpoints.resume import read_epoch_end
from shared.data import Batch, MNISTData
from shared.model import AutoEncoder
from shared.options.checkpoint import Config
from shared.options.common import LOG_EVERY_N_STEPS
from shared.runtime.command import run


# 1. The model: its loss on a batch, and its optimizer.
class Model(AutoEncoder, pl.LightningModule):
    """The shared model, and how it learns."""

    def __init__(self, hidden_dim: int, latent_dim: int, learning_rate: float) -> None:
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

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.hparams["learning_rate"])


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
        # Resuming: after the epoch that was saved.
        # The Trainer loads the weights, the optimizer, epoch and step, see fit below.
        # Logging.
        logger=TensorBoardLogger(run_dir, name="", version="", default_hp_metric=False),
        log_every_n_steps=LOG_EVERY_N_STEPS,
        # Epochs.
        max_epochs=config.max_epochs,
        # Training.
        # The Trainer calls train and set_epoch; for every batch, it moves the batch to
        # the device and calls training_step, zero_grad, backward and step.
        # Validation: the mean loss, weighted by batch size.
        # The Trainer calls eval, no_grad and validation_step; self.log takes the mean.
        # Checkpoints: the best and the last.
        callbacks=[
            ModelCheckpoint(
                run_dir / "checkpoints",
                "best" if config.save_top_k == 1 else "{epoch}",
                monitor="val_loss",
                save_top_k=config.save_top_k,
            ),
            # save_last=True would save the last epoch only if it is the best as well.
            ModelCheckpoint(
                run_dir / "checkpoints", "last", save_top_k=int(config.save_last)
            ),
            TQDMProgressBar(refresh_rate=LOG_EVERY_N_STEPS),
        ],
    )
    if config.ckpt_path:  # the Trainer would load damaged weights silently
        read_epoch_end(config.ckpt_path, config)
    trainer.fit(model, datamodule=data, ckpt_path=config.ckpt_path, weights_only=True)


# 3. The run.
def load_encoder(path: Path) -> nn.Module:
    """Return the trained encoder of a checkpoint, which either half has written."""
    model = Model.load_from_checkpoint(path, map_location="cpu", weights_only=True)
    return model.encoder


def main(config: Config, run_dir: Path) -> None:
    """Train a new model."""
    pl.seed_everything(config.seed, verbose=False)
    model = Model(config.hidden_dim, config.latent_dim, config.learning_rate)
    data = Data(config)
    fit(model, data, config, run_dir)
    if config.save_last:
        encoder = load_encoder(run_dir / "checkpoints" / "last.ckpt")
        images, _ = next(iter(data.val_dataloader()))
        embedding = encoder(images[:1].flatten(1))
        print("embedding of the first image:", embedding.tolist())


if __name__ == "__main__":
    run(main)
