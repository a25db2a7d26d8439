"""Train an autoencoder on MNIST, with a LightningModule and a Trainer.

    python -m lightning.train --max-epochs 3

`make diff` shows this file beside plain_pytorch/train.py, which does the same.
"""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint, TQDMProgressBar
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import Tensor

from shared.checkpoints.whole_files import read_checkpoint, write_checkpoint
from shared.data import Batch, MNISTData
from shared.model import AutoEncoder
from shared.options.train import LOG_EVERY_N_STEPS, TrainConfig
from shared.runtime.command import report, run
from shared.runtime.errors import require_finite


# 1. What to learn: the loss on one batch, and the optimizer.
class LitAutoEncoder(AutoEncoder, pl.LightningModule):
    """The shared model, and what to do with a batch of each kind."""

    def __init__(self, hidden_dim: int, latent_dim: int, learning_rate: float) -> None:
        super().__init__(hidden_dim, latent_dim)
        self.save_hyperparameters()  # [hparams] stored in every checkpoint

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, _ = batch
        loss = self.reconstruction_loss(images)
        require_finite("training loss", loss.item(), self.global_step)  # [finite]
        self.log("train_loss", loss, prog_bar=True)  # [log]
        self.log("train_loss_epoch", loss, on_step=False, on_epoch=True)  # [mean]
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, _ = batch
        loss = self.reconstruction_loss(images)
        require_finite("validation loss", loss.item(), self.global_step)  # [finite]
        self.log("val_loss", loss, prog_bar=True)  # [log]
        return loss

    def test_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, _ = batch
        loss = self.reconstruction_loss(images)
        require_finite("test loss", loss.item(), self.global_step)  # [finite]
        self.log("test_loss", loss)  # [log]
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.hparams["learning_rate"])

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["dataset"] = self.trainer.datamodule.dataset_name  # [checkpoint]


class LitMNIST(MNISTData, pl.LightningDataModule):
    """The shared data: a Trainer calls the hooks that it has already."""


# 2. How to train: for every epoch, for every batch, one step down the gradient.
def make_trainer(
    config: TrainConfig, run_dir: Path, *callbacks: pl.Callback, **options: Any
) -> pl.Trainer:
    """Return a Trainer, which has the loops; a lesson can add callbacks and options."""
    checkpoints = run_dir / "checkpoints"
    # Unasked, it calls prepare_data on one process of each machine [download],
    # set_epoch on the sampler [shuffle], train() and eval() [mode]; and for every
    # batch training_step, [zero_grad], [backward] and [step].
    return pl.Trainer(
        accelerator="cuda" if config.use_cuda else "cpu",  # [device]
        devices=1,
        deterministic=config.use_cuda,  # [deterministic]
        max_epochs=config.max_epochs,  # [epochs]
        limit_train_batches=config.limit_train_batches,  # [limit]
        limit_val_batches=config.limit_val_batches,
        limit_test_batches=config.limit_test_batches,
        log_every_n_steps=LOG_EVERY_N_STEPS,  # [log]
        logger=TensorBoardLogger(
            run_dir.parent, name="", version=run_dir.name, default_hp_metric=False
        ),
        plugins=[AtomicCheckpointIO()],  # [checkpoint]
        callbacks=[
            TQDMProgressBar(refresh_rate=LOG_EVERY_N_STEPS),  # [progress]
            ModelCheckpoint(checkpoints, filename="best", monitor="val_loss"),
            # [checkpoint] save_last=True would renew the last only with the best.
            ModelCheckpoint(checkpoints, filename="last"),
            *callbacks,
        ],
        **options,
    )


class AtomicCheckpointIO(TorchCheckpointIO):
    """Saves whole files, as the plain half does, and notices one that is damaged."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        write_checkpoint(Path(path), checkpoint)

    def load_checkpoint(self, path: str | Path, *_: Any, **__: Any) -> dict[str, Any]:
        return read_checkpoint(Path(path))


# 3. How to evaluate: the mean loss over a loader, weighted by batch size.
# Nothing to write: the Trainer calls validation_step and test_step, in eval mode
# [mode], without gradients [no_grad]; self.log weights the mean by batch size [mean].


# 4. Do it.
def main(config: TrainConfig, run_dir: Path) -> None:
    """Train, then test the weights that did best in validation."""
    pl.seed_everything(config.seed, verbose=False)  # [seed]
    model = LitAutoEncoder(config.hidden_dim, config.latent_dim, config.learning_rate)
    data = LitMNIST(config)
    trainer = make_trainer(config, run_dir)
    trainer.fit(model, datamodule=data)
    best = run_dir / "checkpoints" / "best.ckpt"
    trainer.test(model, datamodule=data, ckpt_path=best, weights_only=True)
    best_val_loss = trainer.checkpoint_callback.best_model_score.item()
    test_loss = trainer.callback_metrics["test_loss"].item()
    report(run_dir, data.dataset_name, best_val_loss, test_loss)


if __name__ == "__main__":
    run("lightning", "train", main)
