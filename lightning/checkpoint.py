"""Save all of a training, and go on as if it had never stopped, with a Trainer.

    python -m lightning.checkpoint --every-n-train-steps 100
    python -m lightning.checkpoint --ckpt-path last

The second command goes on where the first was stopped, by Ctrl-C, an error or a power
cut. A file of plain_pytorch/checkpoint.py will do, too.
"""

from math import inf
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint, TQDMProgressBar
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor, nn
from torch.optim.lr_scheduler import ExponentialLR
from torch.utils.data import DataLoader

from lightning.train import AtomicCheckpointIO, LitAutoEncoder, LitMNIST
from shared.checkpoints.lightning_format import (
    from_callbacks,
    from_loops,
    to_callbacks,
    to_loops,
)
from shared.checkpoints.resume import (
    check_same,
    describe,
    find_checkpoint,
    read_resumable,
)
from shared.checkpoints.rng import get_rng_states, set_rng_states
from shared.checkpoints.whole_files import after_an_error
from shared.data import Batch
from shared.options.checkpoint import CheckpointConfig
from shared.options.train import LOG_EVERY_N_STEPS
from shared.runtime.command import report, run, show_digit
from shared.runtime.errors import require_finite
from shared.runtime.signals import (
    exit_if_signalled,
    hold_signals,
    release_signals,
    signalled,
)


# 1. What to learn: the loss on one batch, and the optimizer.
class LitDecayingAutoEncoder(LitAutoEncoder):
    """The autoencoder, with a learning rate that decays: one thing more to save."""

    def __init__(self, hidden_dim: int, latent_dim: int, learning_rate: float) -> None:
        super().__init__(hidden_dim, latent_dim, learning_rate)
        self.loss_sum, self.num_images = torch.zeros(()), 0

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, _ = batch
        loss = self.reconstruction_loss(images)
        require_finite("training loss", loss.item(), self.global_step)  # [finite]
        self.log("train_loss", loss, prog_bar=True)  # [log]
        # [mean] The sums of self.log(..., on_epoch=True) are in no checkpoint.
        self.loss_sum += loss.detach().cpu() * len(images)
        self.num_images += len(images)
        return loss

    def on_train_epoch_end(self) -> None:
        self.log("train_loss_epoch", self.loss_sum / self.num_images)
        self.loss_sum, self.num_images = torch.zeros(()), 0

    def configure_optimizers(self) -> Any:
        optimizer = super().configure_optimizers()
        return {"optimizer": optimizer, "lr_scheduler": ExponentialLR(optimizer, 0.9)}


class LitResumableMNIST(LitMNIST):
    """Begins an epoch where the training stands. A Trainer alone begins at its start.

    It would train on images that it has seen already, and with workers in the order of
    epoch 0: they fetch the first images before it calls set_epoch.
    """

    def train_dataloader(self) -> DataLoader[Batch]:
        loader, fit_loop = super().train_dataloader(), self.trainer.fit_loop
        loader.sampler.set_epoch(fit_loop.epoch_progress.current.processed)  # [shuffle]
        batch_idx = fit_loop.epoch_loop.batch_progress.current.processed
        loader.sampler.skip = batch_idx * self.config.batch_size  # [position]
        return loader


# 2. How to train: for every epoch, for every batch, one step down the gradient.
class Resumable(pl.Callback):
    """Saves what a Trainer leaves out, and where a step is done, logging too.

    ModelCheckpoint saves a step before the Trainer logs it: a run that is killed right
    then lacks a point of its curves. After an error or a signal it saves half a step.
    """

    def __init__(self, config: CheckpointConfig, path: Path) -> None:
        self.config, self.path = config, path
        self.rng_states: dict[str, Any] | None = None

    def on_save_checkpoint(
        self, trainer: pl.Trainer, model: Any, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint |= describe(self.config, trainer.datamodule)
        checkpoint["train_loss"] = [model.loss_sum, model.num_images]  # [mean]
        checkpoint["rng_states"] = self.rng_states  # [rng]
        # [position] Resumed inside of a step, a Trainer would log all others one late.
        position = from_loops(checkpoint["loops"])
        checkpoint["epoch"], checkpoint["loops"] = position.epoch, to_loops(position)

    def on_load_checkpoint(
        self, trainer: pl.Trainer, model: Any, checkpoint: dict[str, Any]
    ) -> None:
        callbacks = checkpoint["callbacks"]  # [top_k] Their folder may have moved.
        callbacks |= to_callbacks(from_callbacks(callbacks, self.path.parent))
        model.loss_sum, model.num_images = checkpoint["train_loss"]  # [mean]
        set_rng_states(checkpoint["rng_states"])  # [rng]

    def save(self, trainer: pl.Trainer) -> None:
        if self.config.checkpointing:
            trainer.save_checkpoint(self.path, weights_only=False)  # [checkpoint]

    def on_train_start(self, trainer: pl.Trainer, model: pl.LightningModule) -> None:
        self.rng_states = get_rng_states()  # [rng]
        hold_signals()  # [signal]

    def on_train_batch_start(
        self, trainer: pl.Trainer, model: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        every = self.config.every_n_train_steps or inf
        if batch_idx == 0 or trainer.global_step % every == 0 or signalled():
            self.save(trainer)
        exit_if_signalled()  # [signal]

    def on_before_optimizer_step(self, *_: Any) -> None:
        self.rng_states = None  # [exception] half a step cannot be saved

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if not trainer.is_last_batch:  # or validation comes first
            self.rng_states = get_rng_states()  # [rng]

    def on_train_epoch_end(self, *_: Any) -> None:
        self.rng_states = get_rng_states()  # [rng]

    def on_train_end(self, trainer: pl.Trainer, model: pl.LightningModule) -> None:
        self.rng_states = get_rng_states()
        self.save(trainer)
        self.rng_states = None  # [exception] not in the test that follows
        release_signals()

    def on_exception(
        self, trainer: pl.Trainer, model: pl.LightningModule, exception: BaseException
    ) -> None:
        if self.rng_states and isinstance(exception, Exception):  # [exception]
            with after_an_error():
                self.save(trainer)


def check_resumable(
    path: Path, config: CheckpointConfig, data: LitMNIST, model: LitDecayingAutoEncoder
) -> int:
    """See that a checkpoint is of this very run; return the steps taken so far.

    A Trainer goes on with whatever it is given.
    """
    checkpoint = read_resumable(path, config)
    data.prepare_data()
    data.setup("fit")
    check_same(checkpoint, path, data, model, *model.configure_optimizers().values())
    return from_loops(checkpoint["loops"]).global_step


def make_trainer(
    config: CheckpointConfig,
    run_dir: Path,
    global_step: int,
    *callbacks: pl.Callback,
    **options: Any,
) -> pl.Trainer:
    """Return a Trainer, which has the loops; a lesson adds callbacks and options."""
    # Unasked, it calls train() and eval() [mode]; for every batch [zero_grad],
    # [backward] and [step]; and after every epoch step() of the scheduler [schedule].
    if config.checkpointing:
        best = ModelCheckpoint(  # [top_k]
            run_dir / "checkpoints",
            filename="best" if config.save_top_k == 1 else "{epoch}-{step}",
            monitor="val_loss",
            save_top_k=config.save_top_k,
            enable_version_counter=False,  # a resumed run writes its own file again
        )
        callbacks = (*callbacks, best)
    return pl.Trainer(
        accelerator="cuda" if config.use_cuda else "cpu",  # [device]
        deterministic=config.use_cuda,  # [deterministic]
        max_epochs=config.max_epochs,  # [epochs]
        limit_train_batches=config.limit_train_batches,  # [limit]
        limit_val_batches=config.limit_val_batches,
        limit_test_batches=config.limit_test_batches,
        log_every_n_steps=LOG_EVERY_N_STEPS,  # [log]
        logger=TensorBoardLogger(
            run_dir.parent,
            name="",
            version=run_dir.name,
            default_hp_metric=False,
            # [log] Points after the checkpoint, of a run that was killed, come again.
            purge_step=global_step or None,
        ),
        enable_checkpointing=config.checkpointing,  # [checkpoint]
        plugins=[AtomicCheckpointIO()],
        callbacks=[
            TQDMProgressBar(refresh_rate=LOG_EVERY_N_STEPS),  # [progress]
            *callbacks,
        ],
        **options,
    )


# 3. How to use the weights alone: the encoder, without all that has trained it.
def load_encoder(path: Path) -> nn.Module:
    """Return the encoder of a checkpoint, a bare nn.Sequential."""
    model = LitDecayingAutoEncoder.load_from_checkpoint(
        path, map_location="cpu", weights_only=True
    )
    return model.encoder


# 4. Do it.
def main(config: CheckpointConfig, run_dir: Path) -> None:
    """Train, then test the weights that did best in validation."""
    pl.seed_everything(config.seed, verbose=False)  # [seed]
    model = LitDecayingAutoEncoder(
        config.hidden_dim, config.latent_dim, config.learning_rate
    )
    data = LitResumableMNIST(config)
    ckpt_path = find_checkpoint(config.ckpt_path, run_dir)
    # [resume] Checked here, before the logger drops the points that come again.
    step = check_resumable(ckpt_path, config, data, model) if ckpt_path else 0
    resumable = Resumable(config, run_dir / "checkpoints" / "last.ckpt")
    trainer = make_trainer(config, run_dir, step, resumable, devices=1)
    trainer.fit(model, datamodule=data, ckpt_path=ckpt_path, weights_only=True)
    best = getattr(trainer.checkpoint_callback, "best_k_models", {})
    path = min(best, key=best.__getitem__, default=None)
    trainer.test(model, datamodule=data, ckpt_path=path, weights_only=True)
    best_val_loss = best[path].item() if path else None
    test_loss = trainer.callback_metrics["test_loss"].item()
    report(run_dir, data.dataset_name, best_val_loss, test_loss)
    if path:
        show_digit(load_encoder(Path(path)), data)


if __name__ == "__main__":
    run("lightning", "checkpoint", main)
