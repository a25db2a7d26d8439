"""Go on with a run: find its file and its folder, and check that it is the same."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from torch import Tensor, nn
from torch.optim import Optimizer

from shared.checkpoints.lightning_format import from_loops
from shared.checkpoints.whole_files import (
    CheckpointError,
    check_weights,
    read_checkpoint,
)
from shared.data import MNISTData
from shared.options.checks import option_name
from shared.options.train import Config as TrainConfig
from shared.runtime.errors import UserError
from shared.runtime.ranks import is_rank_0
from shared.runtime.run_dir import new_run_dir, run_dirs

LAST = Path("checkpoints", "last.ckpt")
"""The file in a run's folder from which the run goes on."""

CHANGES_THE_RUN = (
    "seed",
    "batch_size",
    "learning_rate",
    "hidden_dim",
    "latent_dim",
    "limit_train_batches",
    "limit_val_batches",
    "save_top_k",
)
"""With another value of these options, the resumed run would be another run."""

CHANGES_THE_LAST_BITS = ("threads", "accelerator", "world_size")
"""With another value of these, the rest of the run rounds differently."""

NEEDED = (
    "loops",
    "callbacks",
    "optimizer_states",
    "rng_states",
    "config",
    "dataset",
    "dataset_digest",
)
"""The keys without which a run cannot go on exactly."""

PATIENCE = 10.0
"""Seconds to wait for a folder: the workers of a killed run hold it a little longer."""


@contextmanager
def only_process(run_dir: Path) -> Iterator[None]:
    """Keep every other process out of a run's folder while this one trains.

    Raises:
        UserError: another process trains in it.
    """
    lock = FileLock(run_dir / ".lock")
    try:
        lock.acquire(timeout=PATIENCE)
    except Timeout as error:
        raise UserError(
            f"another process trains in {run_dir}: wait until it ends, or stop it"
        ) from error
    try:
        yield
    finally:
        if [*run_dir.iterdir()] == [run_dir / ".lock"]:  # an empty run leaves nothing
            (run_dir / ".lock").unlink()
        lock.release()


def choose_run_dir(ckpt_path: str | None, parent: Path) -> Path:
    """Return the folder in which a run goes on, or make a new one.

    Args:
        ckpt_path: a file, or `last` for the newest run that has a last.ckpt, or None
            for a run from the start.
        parent: the folder of this half's runs.
    """
    run_dir = resumed_run_dir(ckpt_path, parent)
    if ckpt_path == "last" and run_dir is None:
        print(f"no {LAST} in {parent}: training from the start", file=sys.stderr)
    return run_dir or new_run_dir(parent)


def resumed_run_dir(ckpt_path: str | None, parent: Path) -> Path | None:
    """Return the folder in which a run goes on, or None if it needs a new one.

    A last.ckpt goes on in the folder of its run, whichever half has written it. From
    any other file a new run branches off, and the old one stays as it is.
    """
    if ckpt_path == "last":
        with_last = [run for run in run_dirs(parent) if (run / LAST).exists()]
        return with_last[-1] if with_last else None
    path = Path(ckpt_path or "").absolute()
    return path.parents[1] if path.is_file() and path.match(str(LAST)) else None


def find_checkpoint(ckpt_path: str | None, run_dir: Path) -> Path | None:
    """Return the file to go on from, or None for a run from the start.

    Args:
        ckpt_path: a file, or `last`, or None.
        run_dir: what `choose_run_dir` has returned.
    """
    if ckpt_path == "last":
        return run_dir / LAST if (run_dir / LAST).exists() else None
    return Path(ckpt_path) if ckpt_path else None


def read_same_run(
    path: Path, config: TrainConfig, data: MNISTData, model: Any
) -> dict[str, Any]:
    """Return a checkpoint, after a check that it is of this very run.

    Neither torch nor Lightning checks: they go on with whatever they are given.

    Args:
        path: a checkpoint of the lesson resume, of either half.
        config: the options.
        data: the images, after `setup("fit")`.
        model: a lesson's Model.

    Raises:
        CheckpointError: see `read_resumable` and `check_same`.
    """
    checkpoint = read_resumable(path, config)
    check_same(checkpoint, path, data, model, model.configure_optimizers())
    return checkpoint


def read_epoch_end(path: Path, config: TrainConfig) -> dict[str, Any]:
    """Return a checkpoint that was saved at an epoch's end, by either half.

    Raises:
        CheckpointError: the file is missing or damaged, was saved inside an epoch,
            after the last one, or by a lesson that saves less, or has a model of other
            options.
    """
    checkpoint = read_checkpoint(path)
    if "loops" not in checkpoint or "hyper_parameters" not in checkpoint:
        raise CheckpointError(
            f"{path} does not say where its training stands: take a file that the"
            " lesson checkpoint wrote"
        )
    position = from_loops(checkpoint["loops"])
    if position.batch_idx:
        raise CheckpointError(
            f"{path} was saved inside epoch {position.epoch}: the lesson resume goes on"
            " from there"
        )
    if position.epoch >= config.max_epochs:
        raise CheckpointError(
            f"{path} was saved after {position.epoch} epochs: give more --max-epochs"
        )
    then = checkpoint["hyper_parameters"]
    check_options(path, then, {name: getattr(config, name, None) for name in then})
    return checkpoint


def read_resumable(path: Path, config: TrainConfig) -> dict[str, Any]:
    """Return a checkpoint that has all it takes to go on, and say where it stands.

    Raises:
        CheckpointError: the file is missing or damaged, or was saved by a lesson that
            saves less, after the last epoch, or by a run with other options.
    """
    checkpoint = read_checkpoint(path)
    missing = [key for key in NEEDED if key not in checkpoint]
    if missing:
        raise CheckpointError(
            f"{path} has no {', '.join(missing)}, and nobody can go on from it exactly:"
            " take a last.ckpt that the lesson resume wrote"
        )
    position = from_loops(checkpoint["loops"])
    if position.epoch > config.max_epochs:
        raise CheckpointError(
            f"{path} was saved after {position.epoch} epochs: give more --max-epochs"
        )
    check_options(path, checkpoint["config"], options_of(config))
    if is_rank_0():
        print(f"resuming from {path}, step {position.global_step}", file=sys.stderr)
    return checkpoint


def check_options(path: Path, then: dict[str, Any], now: dict[str, Any]) -> None:
    """Check that a run goes on with the options it had.

    Raises:
        CheckpointError: an option has changed that makes it another run.
    """
    for name in now:
        if then.get(name) == now[name]:
            continue
        option, was = option_name(name), then.get(name)
        if name in CHANGES_THE_LAST_BITS:
            print(
                f"{option} was {was} and is {now[name]}: the last bits may differ from"
                " those of a run that was never stopped",
                file=sys.stderr,
            )
            continue
        raise CheckpointError(
            f"{path} was trained with {option}={was}, and now it is {now[name]}: "
            + (f"give {option}={was}" if was is not None else f"leave out {option}")
            + ", or start anew without --ckpt-path"
        )


def describe(config: TrainConfig, data: MNISTData) -> dict[str, Any]:
    """Return what a checkpoint says about its run, for `read_resumable`.

    Args:
        config: the options.
        data: the images, after `setup("fit")`.
    """
    return {
        "dataset": data.dataset_name,
        "dataset_digest": data.digest,
        "config": options_of(config),
    }


def options_of(config: TrainConfig) -> dict[str, Any]:
    """Return the options that stay the same when a run goes on, by name.

    The batch size is that of all processes together.
    """
    names = [name for name in CHANGES_THE_RUN if hasattr(config, name)]
    return {name: getattr(config, name) for name in names} | {
        "threads": config.threads,
        "accelerator": "cuda" if config.use_cuda else "cpu",
        "world_size": config.world_size,
        "batch_size": config.batch_size * config.world_size,
    }


def check_same(
    checkpoint: dict[str, Any],
    path: Path,
    data: MNISTData,
    model: nn.Module,
    optimizer: Optimizer,
) -> None:
    """Check that this model was trained on these images, by such an optimizer.

    A momentum set in code silently loses to that of the file, and the state of another
    optimizer fails at the first step.

    Args:
        checkpoint: what `read_resumable` has returned.
        path: its file, for the error.
        data: the images, after `setup("fit")`.
        model: the model that is to go on.
        optimizer: its optimizer, new.

    Raises:
        CheckpointError: something is not as it was.
    """
    if checkpoint["dataset"] != data.dataset_name:
        raise CheckpointError(
            f"{path} was trained on {checkpoint['dataset']}, and this is"
            f" {data.dataset_name}: give --dataset {checkpoint['dataset']}"
        )
    if checkpoint["dataset_digest"] != data.digest:
        raise CheckpointError(
            f"{path} was trained on other images of {data.dataset_name} than those in"
            f" {data.config.data_dir}: give the --data-dir it was trained with"
        )
    check_weights(model, checkpoint, path)
    then = checkpoint["optimizer_states"][0]["param_groups"]
    now = optimizer.state_dict()["param_groups"]
    if without_rate(then) != without_rate(now):
        raise CheckpointError(
            f"{path} was trained by another optimizer, or by one with other settings:"
            " use that one, or start anew without --ckpt-path"
        )


def without_rate(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return an optimizer's settings without those that a schedule changes."""
    changing = ("lr", "initial_lr")
    return [
        {name: value for name, value in group.items() if name not in changing}
        for group in groups
    ]


def keep_best(
    best: dict[str, Tensor],
    k: int,
    path: Path,
    val_loss: float,
    save: Callable[[Path], None],
) -> None:
    """Save an epoch that is one of the k best, and delete the one that it displaces.

    Args:
        best: the validation losses of the best so far, by path; is changed.
        k: how many to keep; 0 keeps none, -1 all.
        path: a file for the epoch.
        val_loss: its validation loss.
        save: writes a checkpoint.
    """
    full = len(best) == k
    worst = max(best, key=best.__getitem__, default="")
    if full and (k == 0 or val_loss >= best[worst]):
        return
    if full:
        del best[worst]
    best[str(path.resolve())] = torch.tensor(val_loss)
    save(path)
    if full and worst not in best:
        Path(worst).unlink(missing_ok=True)
