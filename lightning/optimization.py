"""Change what happens between a batch and a step, with a LightningModule and a Trainer.

    python -m lightning.optimization --accumulate-grad-batches 4
    python -m lightning.optimization --gradient-clip-val 0.1 --warmup-steps 100
    python -m lightning.optimization --optimizer two --decoder-learning-rate 0.01
    python -m lightning.optimization --optimizer lbfgs

plain_pytorch/optimization.py does the same. Compared with train.py beside it, ...
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelCheckpoint, TQDMProgressBar
from pytorch_lightning.core.optimizer import LightningOptimizer
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor
from torch.nn.utils import get_total_norm
from torch.optim import LBFGS, Adam, Optimizer

from lightning.train import AtomicCheckpointIO, LitAutoEncoder, LitMNIST
from shared.command import report, run
from shared.config import LOG_EVERY_N_STEPS
from shared.data import Batch
from shared.options.optimization import OptimizationConfig


# 1. What to learn: the loss on one batch, and the optimizer.
class LitAdam(LitAutoEncoder):
    """One optimizer, with a learning rate for each part of the model."""

    def __init__(
        self,
        hidden_dim: int,
        latent_dim: int,
        learning_rate: float,
        decoder_learning_rate: float,
        warmup_steps: int,
    ) -> None:
        super().__init__(hidden_dim, latent_dim, learning_rate)

    def configure_optimizers(self) -> list[Optimizer]:  # type: ignore[override]
        encoder = {"params": self.encoder.parameters()}
        decoder = {
            "params": self.decoder.parameters(),
            "lr": self.hparams["decoder_learning_rate"],  # [groups]
        }
        return [Adam([encoder, decoder], lr=self.hparams["learning_rate"])]

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        loss.backward(*args, **kwargs)  # [backward]
        grads = [weight.grad for weight in self.parameters() if weight.grad is not None]
        self.grad_norm = get_total_norm(grads)  # [grad_norm] before it is clipped

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: Optimizer | LightningOptimizer,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        for group in optimizer.param_groups:  # [warmup]
            full = group.setdefault("initial_lr", group["lr"])
            share = (self.global_step + 1) / self.hparams["warmup_steps"]
            group["lr"] = full * min(1, share)
        # [closure] training_step, zero_grad, backward and clipping are in it.
        optimizer.step(closure=optimizer_closure)  # [step]

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        # [log] Not in backward: 
        self.log("grad_norm", self.grad_norm)


class LitLBFGS(LitAdam):
    """An optimizer that computes the loss many times to find one step."""

    def configure_optimizers(self) -> list[Optimizer]:  # type: ignore[override]
        lr = self.hparams["learning_rate"]
        return [LBFGS(self.parameters(), lr, line_search_fn="strong_wolfe")]


class LitTwoAdams(LitAdam):
    """An optimizer for each part of the model: they take turns on every batch."""

    automatic_optimization = False

    def configure_optimizers(self) -> list[Optimizer]:  # type: ignore[override]
        return [
            Adam(self.encoder.parameters(), self.hparams["learning_rate"]),
            Adam(self.decoder.parameters(), self.hparams["decoder_learning_rate"]),
        ]

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        for optimizer in self.optimizers():  # [two]
            loss = super().training_step(batch, batch_idx)
            self.zero_grad()  # [zero_grad] of both parts: each backward reaches both
            self.manual_backward(loss)  # calls backward above
            optimizer.step()  # [step] does not call optimizer_step above
        return loss


MODELS = {"adam": LitAdam, "lbfgs": LitLBFGS, "two": LitTwoAdams}


# 2. How to train: for every epoch, for every batch, one step down the gradient.
def make_trainer(config: OptimizationConfig, run_dir: Path) -> pl.Trainer:
    """Return a Trainer, which has the loops."""
    checkpoints = run_dir / "checkpoints"
    # Unasked, it calls prepare_data on one process of each machine [download],
    # set_epoch on the sampler [shuffle], train() and eval() [mode]; and for every
    # batch training_step, [zero_grad], [backward] and [step].
    return pl.Trainer(
        accelerator="cuda" if config.use_cuda else "cpu",  # [device]
        devices=1,
        deterministic=config.use_cuda,  # [deterministic]
        max_epochs=config.max_epochs,  # [epochs]
        accumulate_grad_batches=config.accumulate_grad_batches,  # [accumulate]
        gradient_clip_val=config.gradient_clip_val,  # [clip]
        gradient_clip_algorithm=config.gradient_clip_algorithm,
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
        ],
    )


# 3. How to evaluate: the mean loss over a loader, weighted by batch size.
# Nothing changes: validation_step and test_step are those of train.py.


# 4. Do it.
def main(config: OptimizationConfig, run_dir: Path) -> None:
    """Train, then test the weights that did best in validation."""
    pl.seed_everything(config.seed, verbose=False)  # [seed]
    model = MODELS[config.optimizer](
        config.hidden_dim,
        config.latent_dim,
        config.learning_rate,
        config.decoder_learning_rate or config.learning_rate,
        config.warmup_steps,
    )
    data = LitMNIST(config)
    trainer = make_trainer(config, run_dir)
    trainer.fit(model, datamodule=data)
    best = run_dir / "checkpoints" / "best.ckpt"
    trainer.test(model, datamodule=data, ckpt_path=best, weights_only=True)
    best_val_loss = trainer.checkpoint_callback.best_model_score.item()
    test_loss = trainer.callback_metrics["test_loss"].item()
    report(run_dir, data.dataset_name, best_val_loss, test_loss)


if __name__ == "__main__":
    run("lightning", "optimization", main)
