"""Go on exactly, whatever stopped the run, with a Trainer.

python -m lightning.resume --max-epochs 3 --ckpt-path last
"""

from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint, TQDMProgressBar
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor
from torch.utils.data import DataLoader

from shared.checkpoints.checkpoint_io import WholeFiles
from shared.checkpoints.lightning_format import Position, from_loops
from shared.checkpoints.resume import find_checkpoint, only_process, read_same_run
from shared.checkpoints.resume_callback import Resumable
from shared.data import Batch, MNISTData
from shared.model import AutoEncoder
from shared.options.common import LOG_EVERY_N_STEPS
from shared.options.resume import Config
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
    """The shared data, whose first epoch begins where the run was stopped."""

    position = Position()

    def train_dataloader(self) -> DataLoader[Batch]:
        # A Trainer would show the epoch's first images again and, with workers, those
        # of epoch 0.
        loader = super().train_dataloader()
        loader.sampler.set_epoch(self.position.epoch)
        loader.sampler.skip = self.position.batch_idx * self.config.batch_size
        return loader


# 2. The loop: for every epoch, for every batch, one step.
def fit(model: Model, data: Data, config: Config, run_dir: Path) -> None:
    """Train, and validate after every epoch."""
    ckpt_path = find_checkpoint(config.ckpt_path, run_dir)
    if ckpt_path:  # checked before the Trainer writes anything
        data.prepare_data()
        data.setup("fit")
        saved = read_same_run(ckpt_path, config, data, model)
        data.position = from_loops(saved["loops"])
    trainer = pl.Trainer(
        # Data: one process downloads it.
        # The Trainer calls prepare_data, setup and the dataloader methods.
        # Device.
        accelerator="cuda" if config.use_cuda else "cpu",
        devices=1,
        # Optimizer.
        # The Trainer calls configure_optimizers.
        # Resuming: at the step that was saved, if it is the same run.
        # The Trainer loads the weights, the optimizer and the position, see fit below;
        # Resumable loads the best epochs and the random states.
        # Logging.
        # Points after the checkpoint are dropped: they come again.
        logger=TensorBoardLogger(
            run_dir,
            name="",
            version="",
            default_hp_metric=False,
            purge_step=data.position.global_step,
        ),
        log_every_n_steps=LOG_EVERY_N_STEPS,
        # Saving: all that Resuming loads, and all that it compares.
        # Resumable saves between two steps; WholeFiles writes the file.
        plugins=[WholeFiles()],
        # Signals: Ctrl-C and SIGTERM wait until a step is done.
        # Resumable lets them wait.
        # Epochs.
        max_epochs=config.max_epochs,
        # Training.
        # The Trainer calls train and set_epoch; for every batch, it moves the batch to
        # the device and calls training_step, zero_grad, backward and step.
        # Validation: the mean loss, weighted by batch size.
        # The Trainer calls eval, no_grad and validation_step; self.log takes the mean.
        # Checkpoints: the best and the last.
        callbacks=[
            Resumable(config, run_dir / "checkpoints" / "last.ckpt"),
            ModelCheckpoint(
                run_dir / "checkpoints",
                "best" if config.save_top_k == 1 else "{epoch}",
                monitor="val_loss",
                save_top_k=config.save_top_k,
                enable_version_counter=False,
            ),
            # save_last=True would save the last epoch only if it is the best as well.
            ModelCheckpoint(
                run_dir / "checkpoints", "last", enable_version_counter=False
            ),
            TQDMProgressBar(refresh_rate=LOG_EVERY_N_STEPS),
        ],
    )
    trainer.fit(model, datamodule=data, ckpt_path=ckpt_path, weights_only=True)


# 3. The run.
def main(config: Config, run_dir: Path) -> None:
    """Train a new model."""
    pl.seed_everything(config.seed, verbose=False)
    model = Model(config.hidden_dim, config.latent_dim, config.learning_rate)
    data = Data(config)
    with only_process(run_dir):
        fit(model, data, config, run_dir)


if __name__ == "__main__":
    run(main)
