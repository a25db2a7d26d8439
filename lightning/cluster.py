"""Train on several machines, and go on after a failure, with a Trainer.

torchrun --nproc-per-node 2 -m lightning.cluster --run-dir output/b
"""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint, TQDMProgressBar
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor
from torch.utils.data import DataLoader

from shared.checkpoints.checkpoint_io import WholeFiles
from shared.checkpoints.rng import get_rng_states, set_rng_states
from shared.checkpoints.whole_files import read_checkpoint
from shared.data import Batch, MNISTData
from shared.model import AutoEncoder
from shared.options.cluster import Config
from shared.options.common import LOG_EVERY_N_STEPS
from shared.runtime.command import run
from shared.runtime.ranks import of_all_ranks, of_this_rank


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
        self.log("val_loss", loss, prog_bar=True, sync_dist=True)
        return loss

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.logger.experiment.flush()
        checkpoint["rng_states"] = of_all_ranks(get_rng_states())

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        set_rng_states(of_this_rank(checkpoint["rng_states"]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.hparams["learning_rate"])


class Data(MNISTData, pl.LightningDataModule):
    """The shared data, which begins with the epoch after the saved one."""

    first_epoch = 0

    def train_dataloader(self) -> DataLoader[Batch]:
        loader = super().train_dataloader()
        # A Trainer calls set_epoch after the workers have begun with epoch 0.
        loader.sampler.set_epoch(self.first_epoch)
        return loader


# 2. The loop: for every epoch, for every batch, one step.
def fit(model: Model, data: Data, config: Config, run_dir: Path) -> None:
    """Train, and validate after every epoch."""
    # Resuming: from the end of the last epoch that was saved.
    last = run_dir / "checkpoints" / "last.ckpt"
    ckpt_path, global_step = None, 0
    if last.exists():
        saved = read_checkpoint(last)
        ckpt_path, global_step = last, saved["global_step"]
        data.first_epoch = saved["epoch"] + 1
    trainer = pl.Trainer(
        # Processes: each has the whole model, and its own part of the images.
        # The Trainer starts them, wraps the model in DDP and shares the images out.
        devices=config.devices,
        num_nodes=config.num_nodes,
        strategy=DDPStrategy(timeout=timedelta(seconds=config.timeout)),
        # Data: one process downloads it.
        # The Trainer calls prepare_data, setup and the dataloader methods.
        # Device.
        accelerator="cuda" if config.use_cuda else "cpu",
        # Optimizer.
        # The Trainer calls configure_optimizers.
        # Loading: all that changes in a training.
        # trainer.fit does so; on_load_checkpoint adds the random states.
        # Logging.
        logger=TensorBoardLogger(
            run_dir,
            name="",
            version="",
            default_hp_metric=False,
            purge_step=global_step,
        ),
        log_every_n_steps=LOG_EVERY_N_STEPS,
        # Epochs.
        max_epochs=config.max_epochs,
        # Training.
        # The Trainer calls train and set_epoch; for every batch, it moves the batch to
        # the device and calls training_step, zero_grad, backward and step.
        # Validation: the mean loss, weighted by batch size.
        # The Trainer calls eval, no_grad and validation_step; self.log takes the mean.
        # Checkpoints: the best and the last.
        plugins=[WholeFiles()],
        callbacks=[
            ModelCheckpoint(
                run_dir / "checkpoints",
                "best",
                monitor="val_loss",
                # Replaces the best.ckpt of an epoch that is repeated.
                enable_version_counter=False,
            ),
            # save_last=True would save the last epoch only if it is the best as well.
            ModelCheckpoint(run_dir / "checkpoints", "last"),
            TQDMProgressBar(refresh_rate=LOG_EVERY_N_STEPS),
        ],
    )
    trainer.fit(model, datamodule=data, ckpt_path=ckpt_path, weights_only=True)


# 3. The run.
def main(config: Config, run_dir: Path) -> None:
    """Train a new model, or that of an earlier start."""
    pl.seed_everything(config.seed, verbose=False)
    model = Model(config.hidden_dim, config.latent_dim, config.learning_rate)
    data = Data(config)
    fit(model, data, config, run_dir)


if __name__ == "__main__":
    run(main)
