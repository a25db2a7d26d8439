"""Where a resumed run goes on, and whether it is still the same run."""

import sys
from pathlib import Path
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from shared.checkpoints.lightning_format import from_loops
from shared.checkpoints.rng import get_rng_states
from shared.checkpoints.whole_files import (
    CheckpointError,
    check_weights,
    read_checkpoint,
)
from shared.data import MNISTData
from shared.options.train import TrainConfig, option_name
from shared.runtime.ranks import is_rank_0
from shared.runtime.run_dir import new_run_dir, run_dirs

LAST = Path("checkpoints", "last.ckpt")
"""Where a run keeps the checkpoint to resume from."""

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
"""With another value of these options a resumed run would be another run."""

CHANGES_THE_LAST_BITS = ("threads", "accelerator", "world_size")
"""With another value of these a resumed run rounds otherwise from here on."""

NEEDED = (
    "loops",
    "callbacks",
    "optimizer_states",
    "lr_schedulers",
    "rng_states",
    "train_loss",
    "config",
    "dataset",
    "dataset_digest",
)
"""The keys without which a run cannot go on as if it had never stopped."""


def choose_run_dir(ckpt_path: str | None, parent: Path) -> Path:
    """Return the folder in which a run goes on, or make a new one.

    Args:
        ckpt_path: a file, or None for a run from the start, or `last` for the newest
            run that has a last.ckpt, and from the start where none has.
        parent: the folder of this half's runs.
    """
    run_dir = resumed_run_dir(ckpt_path, parent)
    if ckpt_path == "last" and run_dir is None:
        print(f"no {LAST} in {parent}: training from the start", file=sys.stderr)
    return run_dir or new_run_dir(parent)


def resumed_run_dir(ckpt_path: str | None, parent: Path) -> Path | None:
    """Return the folder in which a run goes on, if it is not to have a new one.

    A run that is resumed from its last.ckpt goes on in its own folder, whichever half
    it was. From any other checkpoint a new run branches off: what the old one has saved
    since then stays.
    """
    if ckpt_path == "last":
        with_last = [run for run in run_dirs(parent) if (run / LAST).exists()]
        return with_last[-1] if with_last else None
    path = Path(ckpt_path or "").absolute()
    return path.parents[1] if path.is_file() and path.match(str(LAST)) else None


def find_checkpoint(ckpt_path: str | None, run_dir: Path) -> Path | None:
    """Return the file to resume from; None for a run from the start.

    Args:
        ckpt_path: a file, or `last`, or None.
        run_dir: what `choose_run_dir` has returned.
    """
    if ckpt_path == "last":
        return run_dir / LAST if (run_dir / LAST).exists() else None
    return Path(ckpt_path) if ckpt_path else None


def read_resumable(path: Path, config: TrainConfig) -> dict[str, Any]:
    """Return a checkpoint to resume from, and say on stderr where it stands.

    Raises:
        CheckpointError: the file is missing or damaged, or does not hold all that is
            needed, or belongs to a run with other options.
    """
    checkpoint = read_checkpoint(path)
    missing = [key for key in NEEDED if key not in checkpoint]
    if missing:
        raise CheckpointError(
            f"{path} cannot be resumed from, it has no {', '.join(missing)}: take one"
            " that the lesson checkpoint wrote"
        )
    try:
        position = from_loops(checkpoint["loops"])
        then, now = {"world_size": 1} | checkpoint["config"], options_of(config)
        groups = checkpoint["optimizer_states"][0]["param_groups"]
        complete = bool(groups) and {*checkpoint["rng_states"]} == {*get_rng_states()}
        if not complete or then.keys() != now.keys():
            raise KeyError("rng_states or config")
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise CheckpointError(
            f"{path} does not say where its training stands ({error}): take another"
        ) from error
    if position.epoch > config.max_epochs:
        raise CheckpointError(
            f"{path} is in epoch {position.epoch}, after the last one: give more than"
            f" --max-epochs {config.max_epochs}"
        )
    for name in now:
        if then[name] == now[name]:
            continue
        if name in CHANGES_THE_LAST_BITS:
            print(
                f"{name} was {then[name]} and is {now[name]}: the last bits may differ"
                " from those of a run that was never stopped",
                file=sys.stderr,
            )
            continue
        option = option_name(name)
        way_out = "omit it" if then[name] is None else f"give {option}={then[name]}"
        if name == "batch_size" and config.world_size > 1:
            way_out = (
                f"all {config.world_size} processes together have to take {then[name]}"
            )
        raise CheckpointError(
            f"{path} was trained with {option}={then[name]}, and now it is {now[name]}:"
            f" {way_out}, or start anew without --ckpt-path"
        )
    if is_rank_0():
        print(f"resuming from {path}, step {position.global_step}", file=sys.stderr)
    return checkpoint


def describe(config: TrainConfig, data: MNISTData) -> dict[str, Any]:
    """Return what a checkpoint has to say of its run, for `read_resumable`.

    Args:
        config: the options.
        data: the images, once set up to fit.
    """
    return {
        "dataset": data.dataset_name,
        "dataset_digest": data.digest,
        "config": options_of(config),
    }


def options_of(config: TrainConfig) -> dict[str, Any]:
    """Return the options that must be the same when a run is resumed, by name.

    The batch is that of all processes together.
    """
    names = (*CHANGES_THE_RUN, "threads", "world_size")
    return {name: getattr(config, name) for name in names} | {
        "accelerator": "cuda" if config.use_cuda else "cpu",
        "batch_size": config.batch_size * config.world_size,
    }


def check_same(
    checkpoint: dict[str, Any],
    path: Path,
    data: MNISTData,
    model: nn.Module,
    optimizer: Optimizer,
    scheduler: LRScheduler,
) -> None:
    """See that this model was trained on these images, by such an optimizer.

    Neither torch nor Lightning does. A momentum or a schedule set in code silently
    loses to that of the file; the state of another optimizer fails steps later.

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
            f" {data.config.data_dir}: give the --data-dir of then"
        )
    check_weights(model, checkpoint, path)
    # What a scheduler changes is not compared; lr it has noted as initial_lr.
    passing = {"lr", "last_epoch", "_step_count", "_last_lr"}
    then = (
        checkpoint["optimizer_states"][0]["param_groups"],
        checkpoint["lr_schedulers"],
    )
    now = optimizer.state_dict()["param_groups"], [scheduler.state_dict()]
    for what, olds, news in zip(("optimizer", "schedule"), then, now, strict=True):
        changed = {"number of groups"} if len(olds) != len(news) else set()
        for old, new in zip(olds, news, strict=False):
            changed |= {name for name in old | new if old.get(name) != new.get(name)}
        if changed - passing:
            raise CheckpointError(
                f"{path} was trained by another {what}, of another"
                f" {', '.join(sorted(changed - passing))}: use that one, or start anew"
                " without --ckpt-path"
            )
