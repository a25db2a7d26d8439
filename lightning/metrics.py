"""Log all that TensorBoard can show, and a table beside it, with a Trainer.

    python -m lightning.metrics --log-every-n-steps 50

`make diff LESSON=metrics` shows this file beside plain_pytorch/metrics.py, which does
the same.
"""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelCheckpoint, TQDMProgressBar
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import RunningMean
from torchmetrics.image import PeakSignalNoiseRatio

from lightning.train import AtomicCheckpointIO, LitAutoEncoder, LitMNIST
from shared.data import Batch
from shared.options.metrics import MetricsConfig
from shared.pictures import summaries
from shared.runtime.command import report, run
from shared.runtime.errors import require_finite


# 1. What to measure: metrics beside the loss, and what can be looked at.
class LitMeasuredAutoEncoder(LitAutoEncoder):
    """The autoencoder, with metrics, which move with it and are in no checkpoint."""

    def __init__(self, hidden_dim: int, latent_dim: int, learning_rate: float) -> None:
        super().__init__(hidden_dim, latent_dim, learning_rate)
        # [running] Of the last steps, never reset. The mean of the epoch counts them
        # all alike, also those of its start, when the model was a worse one.
        self.running_loss = RunningMean(window=20)
        # [metric] In decibels, of pixels in -1..1. The mean over batches would be
        # wrong, however weighted: a logarithm has to come after the sums.
        self.val_psnr = PeakSignalNoiseRatio(data_range=2.0)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, _ = batch
        loss = self.reconstruction_loss(images)
        require_finite("training loss", loss.item(), self.global_step)  # [finite]
        # Two curves: train_loss_step, of single batches [log], and train_loss_epoch,
        # their mean weighted by batch size [mean]. By default here: on_step alone.
        self.log("train_loss", loss, on_step=True, on_epoch=True, prog_bar=True)
        self.running_loss.update(loss.detach())  # [running]
        # Not the metric itself: of that a Trainer logs, at a step, what its forward
        # has returned, the loss of the one batch.
        running_loss = self.running_loss.compute()
        self.log("train_loss_running", running_loss, prog_bar=True)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, _ = batch
        reconstructions = self.decoder(self(images)).view_as(images)
        loss = F.mse_loss(reconstructions, images)
        require_finite("validation loss", loss.item(), self.global_step)  # [finite]
        self.val_psnr.update(reconstructions, images)  # [metric]
        # The Trainer computes and resets the metric when the epoch ends.
        self.log_dict({"val_loss": loss, "val_psnr": self.val_psnr}, prog_bar=True)
        return loss

    def on_fit_start(self) -> None:
        # [graph] By hand, too: TensorBoardLogger(log_graph=True) would write it again
        # for the test.
        summaries.write_graph(self.logger.experiment, self)

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        # [histogram] Not in on_train_epoch_end: a Trainer validates before that, and
        # deletes the gradients before it validates.
        if self.trainer.is_last_batch:
            summaries.write_histograms(
                self.logger.experiment, self, self.global_step - 1
            )

    def on_validation_epoch_end(self) -> None:
        # [image] A Trainer validates two batches before it trains; its own logging
        # leaves them out, ours has to.
        if not self.trainer.sanity_checking:
            data = self.trainer.datamodule.val_set
            summaries.write_images(
                self.logger.experiment, self, data, self.global_step - 1
            )

    def on_test_epoch_end(self) -> None:
        data = self.trainer.datamodule.test_set  # [embedding]
        summaries.write_embeddings(self.logger.experiment, self, data, self.global_step)


# 2. How to train: for every epoch, for every batch, one step down the gradient.
def make_trainer(config: MetricsConfig, run_dir: Path) -> pl.Trainer:
    """Return a Trainer, which has the loops."""
    checkpoints = run_dir / "checkpoints"
    # Unasked, it calls set_epoch on the sampler [shuffle], train() and eval() [mode];
    # and for every batch training_step, [zero_grad], [backward] and [step].
    return pl.Trainer(
        accelerator="cuda" if config.use_cuda else "cpu",  # [device]
        devices=1,
        deterministic=config.use_cuda,  # [deterministic]
        max_epochs=config.max_epochs,  # [epochs]
        limit_train_batches=config.limit_train_batches,  # [limit]
        limit_val_batches=config.limit_val_batches,
        limit_test_batches=config.limit_test_batches,
        log_every_n_steps=config.log_every_n_steps,  # [log]
        logger=[  # the first is self.logger
            TensorBoardLogger(
                run_dir.parent, name="", version=run_dir.name, default_hp_metric=False
            ),
            # [csv] In a folder of its own: it warns of files of others.
            CSVLogger(run_dir, name="", version="csv"),
        ],
        plugins=[AtomicCheckpointIO()],  # [checkpoint]
        callbacks=[
            TQDMProgressBar(refresh_rate=config.log_every_n_steps),  # [progress]
            ModelCheckpoint(checkpoints, filename="best", monitor="val_loss"),
            ModelCheckpoint(checkpoints, filename="last"),
        ],
    )


# 3. How to evaluate: the mean loss over the test images.
# Nothing to write: the Trainer calls the test_step of LitAutoEncoder.


# 4. Do it.
def main(config: MetricsConfig, run_dir: Path) -> None:
    """Train, then test the weights that did best in validation."""
    pl.seed_everything(config.seed, verbose=False)  # [seed]
    model = LitMeasuredAutoEncoder(
        config.hidden_dim, config.latent_dim, config.learning_rate
    )
    data = LitMNIST(config)
    trainer = make_trainer(config, run_dir)
    trainer.fit(model, datamodule=data)
    best = run_dir / "checkpoints" / "best.ckpt"
    trainer.test(model, datamodule=data, ckpt_path=best, weights_only=True)
    best_val_loss = trainer.checkpoint_callback.best_model_score.item()
    test_loss = trainer.callback_metrics["test_loss"].item()
    final = {"hp/val_loss": best_val_loss, "hp/test_loss": test_loss}
    # [hparams] In this run, with its final metrics; the Trainer logs none of them.
    trainer.logger.log_hyperparams(dict(model.hparams), final, trainer.global_step)
    trainer.logger.finalize("success")
    report(run_dir, data.dataset_name, best_val_loss, test_loss)


if __name__ == "__main__":
    run("lightning", "metrics", main)
