"""Train on several processes, GPUs or machines, with a Trainer.

    python -m lightning.distributed --devices 2 --strategy ddp --batch-size 32
    torchrun --nproc-per-node 2 -m lightning.distributed --batch-size 32

The first starts the second process by itself: it runs the same command once more.
"""

import atexit
import subprocess
import threading
import time
from math import inf
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from lightning.checkpoint import (
    LitDecayingAutoEncoder,
    LitResumableMNIST,
    Resumable,
    check_resumable,
    make_trainer,
)
from shared.checkpoints.resume import find_checkpoint
from shared.checkpoints.rng import (
    gather_rng_states,
    get_rng_states,
    of_this_rank,
    set_rng_states,
)
from shared.data import Batch, EpochSampler
from shared.options.distributed import DistributedConfig
from shared.runtime.command import report, run
from shared.runtime.errors import UserError, require_finite
from shared.runtime.ranks import GRACE, Watchdog, set_timeout, signalled_anywhere
from shared.runtime.signals import exit_on_signal, exit_on_signals


# 1. What to learn: the loss on one batch, and the optimizer.
class LitDistributedAutoEncoder(LitDecayingAutoEncoder):
    """The autoencoder; what it logs is the mean over all ranks."""

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, _ = batch
        loss = self.reconstruction_loss(images)
        mean_loss = self.trainer.strategy.reduce(loss.detach().clone())  # [reduce]
        require_finite("training loss", mean_loss.item(), self.global_step)  # [finite]
        self.log("train_loss", mean_loss, prog_bar=True)  # [log]
        num_images = len(images) * self.trainer.world_size
        self.loss_sum += mean_loss.item() * num_images  # [mean]
        self.num_images += num_images
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, _ = batch
        loss = self.reconstruction_loss(images)
        require_finite("validation loss", loss.item(), self.global_step)  # [finite]
        self.log("val_loss", loss, prog_bar=True, sync_dist=True)  # [reduce]
        return loss

    def test_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, _ = batch
        loss = self.reconstruction_loss(images)
        require_finite("test loss", loss.item(), self.global_step)  # [finite]
        self.log("test_loss", loss, sync_dist=True)  # [reduce]
        return loss


class LitDistributedMNIST(LitResumableMNIST):
    """Deals the images out to the ranks."""

    def train_sampler(self) -> EpochSampler:
        # [shard] Every rank has its own part of the images. Other loaders get their
        # DistributedSampler from the Trainer; this one has to be able to skip.
        world_size, rank = self.trainer.world_size, self.trainer.global_rank
        return EpochSampler(len(self.train_set), self.config.seed, world_size, rank)


# 2. How to train: for every epoch, for every batch, one step down the gradient.
class ResumableRanks(Resumable):
    """Saves and stops on all ranks at the same step (by hand: RankState, fit)."""

    def setup(self, trainer: pl.Trainer, model: pl.LightningModule, stage: str) -> None:
        self.path = trainer.strategy.broadcast(self.path)  # [folder]
        if trainer.strategy.broadcast(trainer.ckpt_path) != trainer.ckpt_path:
            raise UserError("rank 0 resumes, this one cannot: share the --output-dir")

    def on_save_checkpoint(
        self, trainer: pl.Trainer, model: Any, checkpoint: dict[str, Any]
    ) -> None:
        super().on_save_checkpoint(trainer, model, checkpoint)
        rng_states = gather_rng_states(self.rng_states)  # [rng]
        checkpoint["rng_states_of_ranks"] = rng_states

    def on_load_checkpoint(
        self, trainer: pl.Trainer, model: Any, checkpoint: dict[str, Any]
    ) -> None:
        own = get_rng_states()
        super().on_load_checkpoint(trainer, model, checkpoint)
        # [rng] With more or fewer ranks than then, each keeps that of its seed.
        set_rng_states(of_this_rank(checkpoint.get("rng_states_of_ranks", []), own))

    def on_train_start(self, trainer: pl.Trainer, model: pl.LightningModule) -> None:
        trainer.strategy.barrier()
        set_timeout(self.config.timeout)  # [timeout] from now on
        Watchdog().start()  # [hang]
        super().on_train_start(trainer, model)

    def on_train_batch_start(
        self, trainer: pl.Trainer, model: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        every = self.config.every_n_train_steps or inf
        step = trainer.global_step
        stop = signalled_anywhere(step, model.device)  # [signal]
        if batch_idx == 0 or step % every == 0 or stop:
            self.save(trainer)  # [checkpoint]
        if stop:
            exit_on_signal(stop, None)

    def on_exception(
        self, trainer: pl.Trainer, model: pl.LightningModule, exception: BaseException
    ) -> None:
        # [hang] The launcher's thread kills this process, before it has spoken, when
        # another has failed, but not one that takes no signals and outlives this one.
        for thread in threading.enumerate():
            if thread.name == "child-process-observer":
                thread._child_processes = []
        atexit.register(end, getattr(trainer.strategy.launcher, "procs", []))


def end(processes: list[subprocess.Popen[bytes]]) -> None:
    """Kill the processes that do not end by themselves; torchrun does so, too."""
    deadline = time.monotonic() + GRACE
    for process in processes:
        try:
            process.wait(max(0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()


class OwnSignals(pl.Callback):
    """Ctrl-C and SIGTERM end a run as without a Trainer.

    The Trainer's handler of SIGTERM sends messages to the other ranks. When each does
    so in the middle of other messages, all wait for ever.
    """

    def on_sanity_check_start(self, *_: Any) -> None:
        exit_on_signals()  # [signal]

    def on_train_start(self, *_: Any) -> None:
        exit_on_signals()

    def on_test_start(self, *_: Any) -> None:
        exit_on_signals()


class SeedRanks(pl.Callback):
    """Gives every rank random numbers of its own, for dropout (by hand: main)."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def setup(self, trainer: pl.Trainer, model: pl.LightningModule, stage: str) -> None:
        if stage == "fit":
            torch.manual_seed(self.seed + trainer.global_rank)  # [seed]


def make_distributed_trainer(
    config: DistributedConfig, run_dir: Path, global_step: int
) -> pl.Trainer:
    """Return the Trainer of checkpoint.py, for several ranks (by hand: run_epochs)."""
    # What it does there, it does on each of them: [deterministic] [epochs] [limit]
    # [position] [shuffle] [mode] [zero_grad] [backward] [step] [schedule] [progress]
    # [top_k]. Unasked, it calls prepare_data on one process of each machine [download],
    # joins the process group [group], wraps the model in DDP [ddp], and logs and writes
    # on rank 0 only.
    return make_trainer(
        config,
        run_dir,
        global_step,
        OwnSignals(),
        SeedRanks(config.seed),
        ResumableRanks(config, run_dir / "checkpoints" / "last.ckpt"),
        devices=config.devices,  # [device] one for each rank
        num_nodes=config.num_nodes,
        strategy=config.strategy,
    )


# 3. How to evaluate: the mean loss over a loader, over all ranks.
# Nothing to write: the Trainer calls validation_step and test_step, in eval mode
# [mode], without gradients [no_grad], with the BatchNorm of rank 0 [buffers].


# 4. Do it.
def main(config: DistributedConfig, run_dir: Path) -> None:
    """Train, then test the weights that did best in validation."""
    pl.seed_everything(config.seed, verbose=False)  # [seed]
    model = LitDistributedAutoEncoder(
        config.hidden_dim, config.latent_dim, config.learning_rate
    )
    data = LitDistributedMNIST(config)
    ckpt_path = find_checkpoint(config.ckpt_path, run_dir)
    # [resume] Checked here, before the logger drops the points that come again.
    step = check_resumable(ckpt_path, config, data, model) if ckpt_path else 0
    trainer = make_distributed_trainer(config, run_dir, step)
    trainer.fit(model, datamodule=data, ckpt_path=ckpt_path, weights_only=True)
    best = getattr(trainer.checkpoint_callback, "best_k_models", {})
    path = min(best, key=best.__getitem__, default=None)
    trainer.test(model, datamodule=data, ckpt_path=path, weights_only=True)
    if trainer.is_global_zero:
        best_val_loss = best[path].item() if path else None
        test_loss = trainer.callback_metrics["test_loss"].item()
        report(run_dir, data.dataset_name, best_val_loss, test_loss)


if __name__ == "__main__":
    run("lightning", "distributed", main)
