"""Lightning's keys for the position of a training, so that either half resumes it.

Without `loops`, Lightning 2.6 loads a checkpoint and silently trains from the start.
The names and the counts are those in the files of `Trainer.save_checkpoint`; a Trainer
takes a missing one as zero.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

LIGHTNING_VERSION = "2.6.6"
"""The Lightning whose keys these are."""


@dataclass
class Position:
    """The position of a training, which is always right before a batch.

    Attributes:
        epoch: of the next batch, counted from 0.
        batch_idx: of the next batch, counted from 0 in every epoch.
        global_step: number of optimizer steps taken.
    """

    epoch: int = 0
    batch_idx: int = 0
    global_step: int = 0


def to_loops(position: Position) -> dict[str, Any]:
    """Return what a checkpoint of Lightning has under `loops`."""
    epoch, batch, step = position.epoch, position.batch_idx, position.global_step
    if batch:  # as saved by on_train_batch_end: this batch is not yet `completed`
        epochs = {"ready": epoch + 1, "started": epoch + 1, "processed": epoch}
        epochs["completed"] = epoch
        batches, total = counts(batch, batch - 1), counts(step, step - 1)
        logged = step - 1
    else:  # as saved by on_train_epoch_end: this epoch is not yet `completed`
        epochs = counts(epoch, max(epoch - 1, 0))
        batches, total = counts(0, 0), counts(step, step)
        logged = step
    taken = {"ready": step, "completed": step}
    zeroed = {"ready": step, "started": step, "completed": step}
    in_epoch = {"ready": batch, "completed": batch}
    zeroed_in_epoch = {"ready": batch, "started": batch, "completed": batch}
    fit_loop = {
        "epoch_progress": {"total": epochs, "current": epochs},
        "epoch_loop.batch_progress": {
            "total": total,
            "current": batches,
            "is_last_batch": False,
        },
        "epoch_loop.automatic_optimization.optim_progress": {
            "optimizer": {
                "step": {"total": taken, "current": in_epoch},
                "zero_grad": {"total": zeroed, "current": zeroed_in_epoch},
            }
        },
        "epoch_loop.state_dict": {"_batches_that_stepped": logged},
    }
    return {
        "fit_loop": fit_loop,
        "validate_loop": {},
        "test_loop": {},
        "predict_loop": {},
    }


def counts(ready: int, completed: int) -> dict[str, int]:
    """Return Lightning's counts of something that was begun and completed so often."""
    return {
        "ready": ready,
        "started": ready,
        "processed": ready,
        "completed": completed,
    }


def from_loops(loops: dict[str, Any]) -> Position:
    """Return the position of a training, from what `to_loops` or a Trainer has written.

    A Trainer saves after a batch or an epoch, but before it counts it as completed. Or
    it saves inside a batch, after an error; then this batch is the next one.

    Raises:
        KeyError: a count is missing.
    """
    fit_loop = loops["fit_loop"]
    epochs = fit_loop["epoch_progress"]["current"]
    batches = fit_loop["epoch_loop.batch_progress"]["current"]
    progress = fit_loop["epoch_loop.automatic_optimization.optim_progress"]
    between_epochs = epochs["ready"] == epochs["processed"]
    return Position(
        epochs["processed"],
        0 if between_epochs else batches["processed"],
        progress["optimizer"]["step"]["total"]["completed"],
    )


MODEL_CHECKPOINT = (
    "ModelCheckpoint{'monitor': 'val_loss', 'mode': 'min', 'every_n_train_steps': 0,"
    " 'every_n_epochs': 1, 'train_time_interval': None}"
)
"""Under this name Lightning keeps the state of ModelCheckpoint(monitor="val_loss")."""


def to_callbacks(best_k_models: dict[str, Tensor]) -> dict[str, Any]:
    """Return what a checkpoint of Lightning has under `callbacks`.

    Args:
        best_k_models: the absolute paths of the best checkpoints, all in one folder,
            and the validation loss of each.
    """
    best = min(best_k_models, key=best_k_models.__getitem__, default="")
    worst = max(best_k_models, key=best_k_models.__getitem__, default="")
    state = {
        "monitor": "val_loss",
        "dirpath": str(Path(best).parent),
        "best_k_models": best_k_models,
        "best_model_path": best,
        "best_model_score": best_k_models.get(best),
        "current_score": None,
        "kth_best_model_path": worst,
        "kth_value": best_k_models.get(worst, torch.tensor(torch.inf)),
        "last_model_path": "",
    }
    return {MODEL_CHECKPOINT: state}


def from_callbacks(callbacks: dict[str, Any], folder: Path) -> dict[str, Tensor]:
    """Return the `best_k_models` of a checkpoint that are in `folder`, by path.

    A run that was moved has them under other paths than it once saved; a run that
    branches off into a new folder has none.
    """
    state = callbacks.get(MODEL_CHECKPOINT, {"best_k_models": {}})
    here = {
        folder.resolve() / Path(path).name: score
        for path, score in state["best_k_models"].items()
    }
    return {str(path): score for path, score in here.items() if path.exists()}
