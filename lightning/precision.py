"""Train in 16 bits, and compiled, with a LightningModule and a Trainer.

    python -m lightning.precision --precision bf16-mixed

`make diff LESSON=precision` shows this file beside plain_pytorch/precision.py, which
does the same. Compared with train.py, the Trainer has two more arguments, and the model
may be compiled.
"""

from pathlib import Path

import pytorch_lightning as pl
import torch

from lightning import train
from lightning.train import LitAutoEncoder, LitMNIST
from shared.options.precision import PrecisionConfig
from shared.runtime.command import report, run


# 1. What to learn: the loss on one batch, and the optimizer.
def make_model(config: PrecisionConfig) -> pl.LightningModule:
    """Return the model of train.py, compiled or not."""
    # [convert] With bf16-true, the Trainer converts its weights, and the images.
    model = LitAutoEncoder(config.hidden_dim, config.latent_dim, config.learning_rate)
    if config.compile:
        # [compile] A Trainer takes the wrapper off, and compiles the steps instead.
        return torch.compile(model)  # type: ignore[return-value]
    return model


# 2. How to train: for every epoch, for every batch, one step down the gradient.
def make_trainer(config: PrecisionConfig, run_dir: Path) -> pl.Trainer:
    """Return the Trainer of train.py, in another precision."""
    # What it does there, it does here: [download] [deterministic] [limit] [epochs]
    # [shuffle] [mode] [device] [finite] [zero_grad] [backward] [log] [progress]
    # [checkpoint]
    return train.make_trainer(
        config,
        run_dir,
        # [autocast] If mixed, around the three steps, but not around backward.
        # [scale] With 16-mixed it has a GradScaler, which may skip a [step], and keeps
        # its state in the checkpoint.
        precision=config.precision,
        gradient_clip_val=config.gradient_clip_val,  # [clip] once it has unscaled
    )


# 3. How to evaluate: the mean loss over a loader, weighted by batch size.
# Nothing to write: the Trainer calls validation_step and test_step, in eval mode
# [mode], without gradients [no_grad], under autocast [autocast] as in training;
# self.log adds up losses in 32 bits [mean].


# 4. Do it.
def main(config: PrecisionConfig, run_dir: Path) -> None:
    """Train, then test the weights that did best in validation."""
    pl.seed_everything(config.seed, verbose=False)  # [seed]
    model = make_model(config)
    data = LitMNIST(config)
    trainer = make_trainer(config, run_dir)
    trainer.fit(model, datamodule=data)
    best = run_dir / "checkpoints" / "best.ckpt"
    trainer.test(model, datamodule=data, ckpt_path=best, weights_only=True)
    best_val_loss = trainer.checkpoint_callback.best_model_score.item()
    test_loss = trainer.callback_metrics["test_loss"].item()
    report(run_dir, data.dataset_name, best_val_loss, test_loss)


if __name__ == "__main__":
    run("lightning", "precision", main)
