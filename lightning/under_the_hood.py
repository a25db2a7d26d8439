"""See every hook of a LightningModule and of its data as the Trainer calls it.

    python -m lightning.under_the_hood

`make diff LESSON=under_the_hood` shows this file beside
plain_pytorch/under_the_hood.py, which calls the same hooks of the same objects itself.
"""

import inspect
import re
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.core import hooks
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor

from lightning.train import AtomicCheckpointIO, LitAutoEncoder, LitMNIST
from shared.checkpoints.whole_files import write_checkpoint
from shared.data import Batch
from shared.options.train import LOG_EVERY_N_STEPS
from shared.options.under_the_hood import UnderTheHoodConfig
from shared.runtime.command import report, run


# 1. What to learn: the model and the data of `train`, and every hook they have.
class LitEncoder(LitAutoEncoder):
    """LitAutoEncoder with the one step that it has not."""

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, _ = batch
        return self(images)


def hook_names(base: type) -> set[str]:
    """Return every hook that the installed Lightning has for a kind of object.

    Args:
        base: LightningModule, LightningDataModule or Callback.
    """
    kinds = (pl.LightningModule, pl.LightningDataModule, pl.Callback)
    # A LightningModule has methods for its author, too, such as log and freeze.
    like_a_hook = re.compile(r"(on|configure|optimizer)_\w+|\w+_step|backward")
    return {
        name
        for part in base.__mro__
        if part in kinds or part.__module__ == hooks.__name__
        for name, value in vars(part).items()
        if inspect.isfunction(value) and not name.startswith("_")
        if part is not pl.LightningModule or like_a_hook.fullmatch(name)
    }


class HookRecorder:
    """Prints the hooks of a model and of its data as they are called.

    Attributes:
        calls: one line for every call, indented below the hook that it came from.
    """

    def __init__(self, model: pl.LightningModule, data: pl.LightningDataModule) -> None:
        self.calls: list[str] = []
        self.depth = 0
        self.in_batch = False
        self.printed: set[str] = set()
        for name in hook_names(pl.LightningDataModule):
            setattr(data, name, self.recorded("data", getattr(data, name)))
        for name in hook_names(pl.LightningModule):
            hook = self.recorded("model", getattr(model, name))
            # The Trainer calls some hooks only where they are overridden, as all are
            # now. But it wants the hooks to load data from one of the two, and
            # configure_model without its deprecated name.
            if hasattr(data, name) or name == "configure_sharded_model":
                hook.__wrapped__ = getattr(model, name)  # passes for the original
            setattr(model, name, hook)

    def recorded(self, owner: str, hook: Callable[..., Any]) -> Any:
        """Return a hook that does the same, and is recorded."""
        signature = inspect.signature(hook)

        def call(*args: Any, **kwargs: Any) -> Any:
            arguments = signature.bind(*args, **kwargs).arguments.items()
            shown = (
                f"{name}={getattr(value, 'value', value)}"
                if isinstance(value, int | str | None)
                else name
                for name, value in arguments
            )
            line = f"{owner}.{hook.__name__}({', '.join(shown)})"
            self.calls.append("    " * self.depth + line)
            self.print_call(self.calls[-1])
            self.depth += 1
            try:
                return hook(*args, **kwargs)
            finally:
                self.depth -= 1

        return call

    def print_call(self, line: str) -> None:
        """Print a call; of a loop's later batches, only what the first had not."""
        begins = ".on_before_batch_transfer(" in line
        self.in_batch |= begins
        if not self.in_batch:
            self.printed.clear()
        elif begins and len(self.printed) > 1 and "..." not in self.printed:
            print("... and the same for every batch of this loop")
            self.printed.add("...")
        call = re.sub(r"batch_idx=\d+", "batch_idx", line)
        if call not in self.printed:
            print(line)
        if self.in_batch:
            self.printed.add(call)
        self.in_batch &= "_batch_end(" not in line


# 2. How to train: through every hook, in the order of the Trainer.
def make_trainer(config: UnderTheHoodConfig, run_dir: Path) -> pl.Trainer:
    """Return the Trainer of `train`, without its bar, which would tear the list."""
    checkpoints = run_dir / "checkpoints"
    # Unasked, it calls every hook [hooks] in the order that the other half writes
    # out, and between them [zero_grad], [backward] and [step], set_epoch [shuffle],
    # and two batches of validation before the first epoch [sanity].
    return pl.Trainer(
        accelerator="cuda" if config.use_cuda else "cpu",  # [device]
        devices=1,
        deterministic=config.use_cuda,  # [deterministic]
        max_epochs=config.max_epochs,  # [epochs]
        limit_train_batches=config.limit_train_batches,  # [limit]
        limit_val_batches=config.limit_val_batches,
        limit_test_batches=config.limit_test_batches,
        limit_predict_batches=config.limit_predict_batches,
        log_every_n_steps=LOG_EVERY_N_STEPS,  # [log]
        logger=TensorBoardLogger(
            run_dir.parent, name="", version=run_dir.name, default_hp_metric=False
        ),
        plugins=[AtomicCheckpointIO()],  # [checkpoint]
        callbacks=[
            ModelCheckpoint(checkpoints, filename="best", monitor="val_loss"),
            ModelCheckpoint(checkpoints, filename="last"),
        ],
        enable_progress_bar=False,
        enable_model_summary=False,
    )


# 3. How to evaluate: the hooks of validation, of the test, and of predictions.
# Nothing to write: the Trainer calls them in eval mode [mode], without gradients
# [no_grad]; what a step gives to self.log it weights by batch size [mean].

# What no line of the other half calls is called by no Trainer either. [old_hooks]
# These it did call once, and now ignores without a word. What to write now is from
# the migration guide in Lightning's documentation.
OLD_HOOKS = {
    "training_end": "training_step",
    "validation_end": "on_validation_epoch_end",
    "test_end": "on_test_epoch_end",
    "training_step_end": "training_step",
    "validation_step_end": "validation_step",
    "test_step_end": "test_step",
    "on_epoch_start": "on_train_epoch_start",
    "on_epoch_end": "on_train_epoch_end",
    "on_batch_start": "on_train_batch_start",
    "on_batch_end": "on_train_batch_end",
    "on_pretrain_routine_start": "on_fit_start",
    "on_pretrain_routine_end": "on_fit_start",
    "on_init_start": "setup",
    "on_init_end": "setup",
    "on_keyboard_interrupt": "on_exception",
    "on_hpc_save": "on_save_checkpoint",
    "on_hpc_load": "on_load_checkpoint",
    "on_post_move_to_device": "on_fit_start",
    "tbptt_split_batch": "training_step",
}
# These raise an error, which needs no flag.
SAID_ALOUD = {"training_epoch_end", "validation_epoch_end", "test_epoch_end"}


def find_old_hooks(cls: type[pl.LightningModule] | type[pl.Callback]) -> list[str]:
    """Return a line for all in a class that is taken for a hook and is none now."""
    base = pl.Callback if issubclass(cls, pl.Callback) else pl.LightningModule
    names, found = hook_names(base), []
    for name, method in inspect.getmembers(cls, inspect.isfunction):
        if name.startswith("_") or name in SAID_ALOUD:
            continue
        if not hasattr(base, name):
            similar = get_close_matches(name, names, n=1, cutoff=0.85)
            for now in [OLD_HOOKS[name]] if name in OLD_HOOKS else similar:
                found.append(f"{cls.__name__}.{name}: no Trainer calls it; write {now}")
        elif name.endswith("_step") and method is not getattr(base, name, None):
            # What a step once returned to be logged, beside its loss.
            source = inspect.getsource(method)
            for key in re.findall(r"""["'](log|progress_bar)["']:""", source):
                found.append(f"{cls.__name__}.{name}: {key!r} is ignored: use self.log")
    return found


class LitOldFashioned(LitAutoEncoder):  # legacy: on purpose
    """A model with hooks as they were once, and one that is misspelt."""

    def training_step(self, batch: Batch, batch_idx: int) -> Any:
        loss = super().training_step(batch, batch_idx)
        shown = {"old_loss": loss}
        return {"loss": loss, "log": shown, "progress_bar": shown}

    def training_step_end(self, outputs: Any) -> None:
        raise AssertionError("a Trainer has called this")

    def on_epoch_end(self) -> None:
        raise AssertionError("a Trainer has called this")

    def configure_optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


# 4. Do it.
def main(config: UnderTheHoodConfig, run_dir: Path) -> None:
    """Train, test the best weights and predict; print every hook that is called."""
    pl.seed_everything(config.seed, verbose=False)  # [seed]
    model = LitEncoder(config.hidden_dim, config.latent_dim, config.learning_rate)
    data = LitMNIST(config)
    recorder = HookRecorder(model, data)  # [hooks]
    trainer = make_trainer(config, run_dir)
    trainer.fit(model, datamodule=data)
    best_val_loss = trainer.checkpoint_callback.best_model_score.item()
    best = run_dir / "checkpoints" / "best.ckpt"
    trainer.test(
        model, datamodule=data, ckpt_path=best, weights_only=True, verbose=False
    )
    test_loss = trainer.callback_metrics["test_loss"].item()
    embeddings = trainer.predict(model, datamodule=data)
    write_checkpoint(run_dir / "embeddings.pt", {"embeddings": embeddings})
    (run_dir / "hooks.txt").write_text("\n".join([*recorder.calls, ""]))
    print("\nignored without a word:", *find_old_hooks(LitOldFashioned), sep="\n")
    print(f"\nhooks                 {run_dir / 'hooks.txt'}")
    report(run_dir, data.dataset_name, best_val_loss, test_loss)


if __name__ == "__main__":
    run("lightning", "under_the_hood", main)
