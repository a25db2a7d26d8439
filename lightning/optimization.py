"""Change what happens between a batch and a step, with a LightningModule and a Trainer.

    python -m lightning.optimization --accumulate-grad-batches 4

`make diff LESSON=optimization` shows this file beside plain_pytorch/optimization.py,
which does the same. Compared with train.py, the Trainer has three more arguments, and
the module overrides hooks.
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
from shared.data import Batch
from shared.options.optimization import OptimizationConfig
from shared.options.train import LOG_EVERY_N_STEPS
from shared.runtime.command import report, run


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

    # training_step is that of train.py: it looks at the loss [finite] and logs it. Of
    # LBFGS's many calls each one counts in the mean [mean], the last one is shown.

    def configure_optimizers(self) -> list[Optimizer]:  # type: ignore[override]
        lr = self.hparams["learning_rate"]
        decoder_lr = self.hparams["decoder_learning_rate"]
        return [
            Adam(
                [  # [groups]
                    {"params": self.encoder.parameters(), "lr": lr},
                    {"params": self.decoder.parameters(), "lr": decoder_lr},
                ]
            )
        ]

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
        for group in optimizer.param_groups:  # [warmup] before the first step, too
            full_rate = group.setdefault("initial_lr", group["lr"])
            warm = min(1, (self.global_step + 1) / self.hparams["warmup_steps"])
            group["lr"] = full_rate * warm
        # [closure] training_step, zero_grad, backward and clipping: Adam calls it once,
        # LBFGS as often as it likes. Whoever overrides this hook has to hand it on.
        optimizer.step(closure=optimizer_closure)  # [step]

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        # Not in backward: when another hook logs between two calls of training_step on
        # an epoch's first batch, Lightning forgets what the first call has logged.
        self.log("grad_norm", self.grad_norm)  # [log]


class LitLBFGS(LitAdam):
    """An optimizer that computes the loss many times to find one step."""

    def configure_optimizers(self) -> list[Optimizer]:  # type: ignore[override]
        lr = self.hparams["learning_rate"]
        return [LBFGS(self.parameters(), lr, line_search_fn="strong_wolfe")]


class LitTwoAdams(LitAdam):
    """An optimizer for each part of the model: they take turns on every batch."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.automatic_optimization = False  # [two] training_step has to do it all

    def configure_optimizers(self) -> list[Optimizer]:  # type: ignore[override]
        lr = self.hparams["learning_rate"]
        decoder_lr = self.hparams["decoder_learning_rate"]
        return [
            Adam(self.encoder.parameters(), lr),
            Adam(self.decoder.parameters(), decoder_lr),
        ]

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        for optimizer in self.optimizers():
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
    # batch training_step, [zero_grad] and [backward], and [step] at a window's end.
    return pl.Trainer(
        accelerator="cuda" if config.use_cuda else "cpu",  # [device]
        devices=1,
        deterministic=config.use_cuda,  # [deterministic]
        max_epochs=config.max_epochs,  # [epochs]
        # [accumulate] The last batch always steps, and every loss is divided by this.
        accumulate_grad_batches=config.accumulate_grad_batches,
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
