"""Log pictures, a table and hyper-parameters, with loggers.

python -m lightning.loggers --max-epochs 3
"""

from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint, TQDMProgressBar
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from shared.data import Batch, MNISTData
from shared.model import AutoEncoder
from shared.options.common import LOG_EVERY_N_STEPS
from shared.options.train import Config
from shared.pictures.pictures import reconstruction_grid
from shared.runtime.command import run


# 1. The model: its loss on a batch, and its optimizer.
class Model(AutoEncoder, pl.LightningModule):
    """The shared model, and how it learns."""

    def __init__(self, hidden_dim: int, latent_dim: int, learning_rate: float) -> None:
        super().__init__(hidden_dim, latent_dim)
        self.save_hyperparameters()
        self.example_input_array = torch.zeros(1, 1, 28, 28)  # for the graph

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, _ = batch
        loss = self.reconstruction_loss(images)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, _ = batch
        loss = self.reconstruction_loss(images)
        self.log("val_loss", loss, prog_bar=True)
        # The Trainer validates two batches before the training, as a check.
        if batch_idx == 0 and not self.trainer.sanity_checking:
            self.log_pictures(batch, self.logger.experiment, self.global_step - 1)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.hparams["learning_rate"])

    def log_pictures(self, batch: Batch, writer: SummaryWriter, step: int) -> None:
        images, labels = batch
        grid = reconstruction_grid(self, images[:8])
        writer.add_image("reconstructions", grid, step)
        for name, parameter in self.named_parameters():
            writer.add_histogram(name, parameter, step)
        # The projector: every point is an embedding, and drawn as its digit.
        digits = images / 2 + 0.5
        writer.add_embedding(self(images), labels.tolist(), digits, step)


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
        logger=[
            TensorBoardLogger(
                run_dir, name="", version="", log_graph=True, default_hp_metric=False
            ),
            CSVLogger(run_dir, name="", version="csv"),
        ],
        log_every_n_steps=LOG_EVERY_N_STEPS,
        # Epochs.
        max_epochs=config.max_epochs,
        # Training.
        # The Trainer calls train and set_epoch; for every batch, it moves the batch to
        # the device and calls training_step, zero_grad, backward and step.
        # Validation: the mean loss, weighted by batch size.
        # The Trainer calls eval, no_grad and validation_step; self.log takes the mean.
        # Pictures: of the first batch.
        # Our validation_step calls log_pictures.
        # Checkpoints: the best and the last.
        callbacks=[
            ModelCheckpoint(run_dir / "checkpoints", "best", monitor="val_loss"),
            # save_last=True would save the last epoch only if it is the best as well.
            ModelCheckpoint(run_dir / "checkpoints", "last"),
            TQDMProgressBar(refresh_rate=LOG_EVERY_N_STEPS),
        ],
    )
    trainer.fit(model, datamodule=data)
    # Hyper-parameters: a line in the table of all runs, beside the final metric.
    # The Trainer logs them without a metric, and TensorBoard shows no such line.
    final = {"hp/val_loss": trainer.checkpoint_callback.best_model_score.item()}
    trainer.logger.log_hyperparams(dict(model.hparams), final, trainer.global_step)
    trainer.logger.finalize("success")


# 3. The run.
def main(config: Config, run_dir: Path) -> None:
    """Train a new model."""
    pl.seed_everything(config.seed, verbose=False)
    model = Model(config.hidden_dim, config.latent_dim, config.learning_rate)
    data = Data(config)
    fit(model, data, config, run_dir)


if __name__ == "__main__":
    run(main)
