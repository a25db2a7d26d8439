"""Find bugs fast: dry runs, few batches, overfitting, profiles and nan, by a Trainer.

    python -m lightning.debugging --fast-dev-run
    python -m lightning.debugging --overfit-batches 1 --max-epochs 100
    python -m lightning.debugging --profiler pytorch

`make diff LESSON=debugging` shows this file beside plain_pytorch/debugging.py.
"""

from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint, ModelSummary, TQDMProgressBar
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.profilers import Profiler, PyTorchProfiler, SimpleProfiler
from torch import Tensor
from torch.nn import functional as F

from lightning.train import AtomicCheckpointIO, LitAutoEncoder, LitMNIST
from shared.data import Batch
from shared.options.debugging import DebuggingConfig
from shared.options.train import LOG_EVERY_N_STEPS
from shared.runtime.command import report, run
from shared.runtime.errors import require_finite


# 1. What to learn: the loss on one batch, and the optimizer.
class LitReconstructor(LitAutoEncoder):
    """The autoencoder, whose forward takes every layer: a summary follows it."""

    def __init__(self, hidden_dim: int, latent_dim: int, learning_rate: float) -> None:
        super().__init__(hidden_dim, latent_dim, learning_rate)
        # [summary] Zeros: torch.rand would draw random numbers.
        self.example_input_array = torch.zeros(1, 1, 28, 28)

    def forward(self, images: Tensor) -> Tensor:
        return self.decoder(self.encoder(images.flatten(1)))

    def reconstruction_loss(self, images: Tensor) -> Tensor:
        return F.mse_loss(self(images), images.flatten(1))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        # [finite] Anomaly mode looks at gradients: those of a nan loss can be finite.
        images, _ = batch
        loss = self.reconstruction_loss(images)
        require_finite("training loss", loss.item(), self.global_step, batch_idx)
        self.log("train_loss", loss, prog_bar=True)  # [log]
        self.log("train_loss_epoch", loss, on_step=False, on_epoch=True)  # [mean]
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, _ = batch
        loss = self.reconstruction_loss(images)
        require_finite("validation loss", loss.item(), self.global_step, batch_idx)
        self.log("val_loss", loss, prog_bar=True)
        return loss

    def test_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, _ = batch
        loss = self.reconstruction_loss(images)
        require_finite("test loss", loss.item(), self.global_step, batch_idx)
        self.log("test_loss", loss)
        return loss


# 2. How to train: for every epoch, for every batch, one step down the gradient.
def make_trainer(config: DebuggingConfig, run_dir: Path) -> pl.Trainer:
    """Return a Trainer, which has the loops."""
    # Unasked, it calls train() and eval() [mode], and for every batch [zero_grad],
    # [backward] and [step].
    checkpoints = run_dir / "checkpoints"
    return pl.Trainer(
        accelerator="cuda" if config.use_cuda else "cpu",  # [device]
        devices=1,
        deterministic=config.use_cuda,
        max_epochs=config.max_epochs,  # [epochs]
        # [dry_run] One epoch, without the sanity check, curves and checkpoints.
        fast_dev_run=config.fast_dev_run or False,
        limit_train_batches=config.limit_train_batches,  # [limit]
        limit_val_batches=config.limit_val_batches,
        limit_test_batches=config.limit_test_batches,
        # [overfit] The same images in every epoch: it turns off [shuffle], and says so.
        overfit_batches=config.overfit_batches or 0,
        profiler=make_profiler(config, run_dir),  # [profiler]
        detect_anomaly=config.detect_anomaly,  # [anomaly]
        log_every_n_steps=LOG_EVERY_N_STEPS,
        logger=TensorBoardLogger(
            run_dir.parent, name="", version=run_dir.name, default_hp_metric=False
        ),
        plugins=[AtomicCheckpointIO()],  # [checkpoint]
        callbacks=[
            TQDMProgressBar(refresh_rate=LOG_EVERY_N_STEPS),  # [progress]
            ModelSummary(max_depth=-1),  # [summary] of every layer
            ModelCheckpoint(checkpoints, filename="best", monitor="val_loss"),
            ModelCheckpoint(checkpoints, filename="last"),
        ],
    )


def make_profiler(config: DebuggingConfig, run_dir: Path) -> Profiler | None:
    """Return what prints a table, or writes a trace of each kind of step."""
    if config.profiler == "simple":
        return SimpleProfiler()
    if config.profiler == "pytorch":
        # Its steps end with training_step, within that of the optimizer.
        return PyTorchProfiler(run_dir, "profile", export_to_chrome=True)
    return None


# 3. How to evaluate: the mean loss over a loader, weighted by batch size.
# Nothing to write: the Trainer calls validation_step and test_step.


# 4. Do it.
def main(config: DebuggingConfig, run_dir: Path) -> None:
    """Train, then test the weights that did best in validation."""
    pl.seed_everything(config.seed, verbose=False)  # [seed]
    model = LitReconstructor(config.hidden_dim, config.latent_dim, config.learning_rate)
    data = LitMNIST(config)
    config.require_batches(data)  # [limit] a Trainer looks at the test's after training
    trainer = make_trainer(config, run_dir)
    trainer.fit(model, datamodule=data)
    best = None if config.fast_dev_run else run_dir / "checkpoints" / "best.ckpt"
    trainer.test(model, datamodule=data, ckpt_path=best, weights_only=True)
    score = trainer.checkpoint_callback.best_model_score
    best_val_loss = None if score is None else score.item()
    test_loss = trainer.callback_metrics["test_loss"].item()
    report(run_dir, data.dataset_name, best_val_loss, test_loss)


if __name__ == "__main__":
    run("lightning", "debugging", main)
