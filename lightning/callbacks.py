"""Train with what happens between the epochs: stopping, schedules, averages, pictures.

    python -m lightning.callbacks --max-epochs 10 --lr-scheduler cosine

`make diff LESSON=callbacks` shows this file beside plain_pytorch/callbacks.py, which
does the same; `diff lightning/train.py lightning/callbacks.py` shows what it takes.
"""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import (
    EarlyStopping,
    EMAWeightAveraging,
    LearningRateMonitor,
    StochasticWeightAveraging,
    WeightAveraging,
)
from torch import Tensor
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LRScheduler,
    OneCycleLR,
    ReduceLROnPlateau,
    StepLR,
)

from lightning.train import LitAutoEncoder, LitMNIST, make_trainer
from shared.averaging import get_mean_avg_fn
from shared.checkpoints.whole_files import load_weights, read_checkpoint
from shared.data import Batch
from shared.options.callbacks import CallbacksConfig
from shared.pictures.pictures import reconstruction_grid
from shared.runtime.command import report, report_epochs, run


# 1. What to learn: the loss on one batch, the optimizer, and its learning rate.
class LitScheduledAutoEncoder(LitAutoEncoder):
    """The model of `train`, whose learning rate follows a schedule."""

    def __init__(
        self, hidden_dim: int, latent_dim: int, learning_rate: float, lr_scheduler: str
    ) -> None:
        super().__init__(hidden_dim, latent_dim, learning_rate)
        self.save_hyperparameters()

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, _ = batch
        loss = self.reconstruction_loss(images)
        # No require_finite here: what nan means, EarlyStopping says.
        self.log("val_loss", loss, prog_bar=True)
        return loss

    def configure_optimizers(self) -> Any:
        optimizer = super().configure_optimizers()
        max_epochs: Any = self.trainer.max_epochs
        max_steps = int(self.trainer.estimated_stepping_batches)
        scheduler: LRScheduler
        match self.hparams["lr_scheduler"]:  # [schedule]
            case "step":
                scheduler = StepLR(optimizer, step_size=1, gamma=0.5)
            case "cosine":
                scheduler = CosineAnnealingLR(optimizer, max_epochs)
            case "one-cycle":
                scheduler = OneCycleLR(
                    optimizer, self.hparams["learning_rate"], max_steps
                )
            case "plateau":
                scheduler = ReduceLROnPlateau(optimizer, factor=0.5, patience=0)
            case _:
                return optimizer
        # [interval] OneCycleLR counts steps, but a Trainer would give it epochs, too.
        # ReduceLROnPlateau moves after validation, which it needs; the others before.
        interval = "step" if isinstance(scheduler, OneCycleLR) else "epoch"
        schedule = {"scheduler": scheduler, "interval": interval, "monitor": "val_loss"}
        return {"optimizer": optimizer, "lr_scheduler": schedule}


# 2. How to train: for every epoch, for every batch, one step down the gradient.
class EpochMean(WeightAveraging):
    """The mean of the weights over the epochs from `swa_epoch_start` on."""

    def __init__(self, swa_epoch_start: int) -> None:
        super().__init__(avg_fn=get_mean_avg_fn(swa_epoch_start))

    def on_train_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule
    ) -> None:
        self.steps_per_epoch = trainer.num_training_batches

    def should_update(
        self, step_idx: int | None = None, epoch_idx: int | None = None
    ) -> bool:
        # An epoch_idx comes after validation and before the checkpoints: they would
        # keep an average that was not validated.
        return step_idx is not None and (step_idx + 1) % self.steps_per_epoch == 0


class ReconstructionPictures(pl.Callback):
    """Writes a picture of images and their reconstructions to TensorBoard."""

    def __init__(self, every_n_epochs: int) -> None:
        self.every_n_epochs = every_n_epochs

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.images = next(iter(trainer.datamodule.val_dataloader()))[0][:8]

    def on_validation_epoch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule
    ) -> None:
        # Callbacks are called in the order of their list. So this one has to stand
        # before WeightAveraging, whose hook takes the average out of the model again.
        if trainer.sanity_checking:
            return
        if (trainer.current_epoch + 1) % self.every_n_epochs == 0:
            model: Any = pl_module
            grid = reconstruction_grid(model, self.images.to(model.device))
            writer = trainer.logger.experiment
            writer.add_image("reconstructions", grid, trainer.global_step)


def callbacks_for(config: CallbacksConfig) -> list[pl.Callback]:
    """Return what the Trainer of `train` is to do besides."""
    # Its loop stays as it is, and with it [download] [device] [deterministic]
    # [epochs] [limit] [shuffle] [mode] [finite] [zero_grad] [backward] [step] [mean]
    # [log] [progress] [checkpoint].
    callbacks = [
        EarlyStopping(  # [early_stop]
            "val_loss",
            patience=config.patience,
            min_delta=config.min_delta,
            mode=config.mode,
            check_finite=config.check_finite,
            stopping_threshold=config.stopping_threshold,
        ),
        LearningRateMonitor(logging_interval="step"),  # [lr] of this step
        ReconstructionPictures(config.every_n_epochs),  # [picture]
    ]
    match config.weight_averaging:  # [average]
        case "ema":
            callbacks.append(EMAWeightAveraging(decay=config.decay))
        case "mean":
            callbacks.append(EpochMean(config.swa_epoch_start))
        case "swa":
            # [swa] It takes the weights in as an epoch begins, torch's recipe when it
            # is over: so the last epoch's are never in this mean, and those from before
            # the first are. mean follows the recipe. With BatchNorm layers, this one
            # adds an epoch for their statistics, and in it a step of the optimizer.
            swa = StochasticWeightAveraging(config.swa_lrs, config.swa_epoch_start)
            callbacks.append(swa)
    return callbacks


# 3. How to evaluate: the mean loss over a loader, weighted by batch size.
# Nothing to write: the Trainer calls validation_step and test_step.


# 4. Do it.
def main(config: CallbacksConfig, run_dir: Path) -> None:
    """Train, then test the weights that did best in validation, or their average."""
    pl.seed_everything(config.seed, verbose=False)  # [seed]
    model = LitScheduledAutoEncoder(
        config.hidden_dim, config.latent_dim, config.learning_rate, config.lr_scheduler
    )
    data = LitMNIST(config)
    trainer = make_trainer(config, run_dir, *callbacks_for(config))
    trainer.fit(model, datamodule=data)
    epochs = trainer.current_epoch
    kept = run_dir / "checkpoints" / "best.ckpt"
    if config.weight_averaging == "swa" and epochs >= config.max_epochs:
        # [swa] A Trainer neither validates this average nor keeps it as best or last,
        # and an early stop loses it. Prefer WeightAveraging, which it does validate.
        kept = run_dir / "checkpoints" / "swa.ckpt"
        trainer.save_checkpoint(kept, weights_only=False)
    # With test(ckpt_path=kept), WeightAveraging would put back what is not averaged.
    load_weights(model, read_checkpoint(kept), kept)
    trainer.test(model, datamodule=data)
    best_val_loss = trainer.checkpoint_callback.best_model_score.item()
    test_loss = trainer.callback_metrics["test_loss"].item()
    reason = trainer.early_stopping_callback.stopping_reason.name  # [early_stop]
    report_epochs(epochs, config.max_epochs, reason)
    report(run_dir, data.dataset_name, best_val_loss, test_loss)


if __name__ == "__main__":
    run("lightning", "callbacks", main)
