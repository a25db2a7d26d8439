"""Save all of a training, and go on as if it had never stopped, by hand.

    python -m plain_pytorch.checkpoint --every-n-train-steps 100
    python -m plain_pytorch.checkpoint --ckpt-path last

The second command goes on where the first was stopped, by Ctrl-C, an error or a power
cut. A file of lightning/checkpoint.py will do, too.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from math import inf
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ExponentialLR
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from plain_pytorch.train import PlainAutoEncoder, evaluate, log_metric, prepare, test
from shared.checkpoints.lightning_format import (
    LIGHTNING_VERSION,
    Position,
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
from shared.checkpoints.whole_files import (
    after_an_error,
    load_weights,
    read_checkpoint,
    write_checkpoint,
)
from shared.data import Batch, MNISTData
from shared.model import AutoEncoder
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
class PlainDecayingAutoEncoder(PlainAutoEncoder):
    """The autoencoder, with a learning rate that decays: one thing more to save."""

    def configure_optimizers(self) -> Any:
        optimizer = super().configure_optimizers()
        return optimizer, ExponentialLR(optimizer, gamma=0.9)


# 2. How to train: for every epoch, for every batch, one step down the gradient.
@dataclass
class TrainState:
    """All that changes in a training: with it, another process can go on."""

    model: PlainDecayingAutoEncoder
    optimizer: torch.optim.Optimizer
    scheduler: ExponentialLR
    folder: Path
    position: Position = field(default_factory=Position)
    loss_sum: Tensor = field(default_factory=lambda: torch.zeros(()))
    num_images: int = 0
    best_k_models: dict[str, Tensor] = field(default_factory=dict)
    rng_states: dict[str, Any] | None = field(default_factory=get_rng_states)
    """None from within a step until the next can begin: nothing can be saved there."""

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint has to hold, under Lightning's keys."""
        return {
            "pytorch-lightning_version": LIGHTNING_VERSION,
            "epoch": self.position.epoch,
            "global_step": self.position.global_step,
            "loops": to_loops(self.position),  # [position]
            "state_dict": self.model.state_dict(),
            "optimizer_states": [self.optimizer.state_dict()],
            "lr_schedulers": [self.scheduler.state_dict()],
            "callbacks": to_callbacks(self.best_k_models),  # [top_k]
            "hyper_parameters": self.model.hparams,
            "train_loss": [self.loss_sum, self.num_images],  # [mean]
            "rng_states": self.rng_states,  # [rng]
        }

    def load_state_dict(self, checkpoint: dict[str, Any]) -> None:
        """Go back to what was saved, by either half."""
        self.position = from_loops(checkpoint["loops"])  # [position]
        self.model.load_state_dict(checkpoint["state_dict"])
        self.optimizer.load_state_dict(checkpoint["optimizer_states"][0])
        self.scheduler.load_state_dict(checkpoint["lr_schedulers"][0])
        callbacks = checkpoint["callbacks"]
        self.best_k_models = from_callbacks(callbacks, self.folder)  # [top_k]
        self.loss_sum, self.num_images = checkpoint["train_loss"]  # [mean]
        self.rng_states = checkpoint["rng_states"]  # [rng]
        set_rng_states(self.rng_states)

    def resume(self, path: Path, config: CheckpointConfig, data: MNISTData) -> None:
        """Go back to a checkpoint, once it is seen to be of this very run."""
        checkpoint = read_resumable(path, config)
        check_same(checkpoint, path, data, self.model, self.optimizer, self.scheduler)
        self.load_state_dict(checkpoint)


def fit(
    model: PlainDecayingAutoEncoder,
    data: MNISTData,
    config: CheckpointConfig,
    run_dir: Path,
) -> TrainState:
    """Train to the last epoch, from the first or from where a checkpoint stands."""
    loaders = prepare(model, data, config)  # [device] [deterministic]
    optimizer, scheduler = model.configure_optimizers()
    state = TrainState(model, optimizer, scheduler, run_dir / "checkpoints")
    ckpt_path = find_checkpoint(config.ckpt_path, run_dir)
    if ckpt_path:
        state.resume(ckpt_path, config, data)  # [resume]

    def save(name: str) -> None:
        if config.checkpointing:  # [checkpoint]
            writer.flush()  # [log] a run that is killed keeps the points until here
            checkpoint = state.state_dict() | describe(config, data)
            write_checkpoint(state.folder / name, checkpoint)

    # [log] Points after the checkpoint, of a run that was killed, come again.
    purge_step = state.position.global_step or None
    with SummaryWriter(run_dir, purge_step=purge_step) as writer:
        try:
            hold_signals()  # [signal]
            run_epochs(state, *loaders, config, writer, save)
            save("last.ckpt")
            release_signals()
        except Exception:
            if state.rng_states:  # [exception]
                with after_an_error():
                    save("last.ckpt")
            raise
    return state


def run_epochs(
    state: TrainState,
    train_loader: DataLoader[Batch],
    val_loader: DataLoader[Batch],
    config: CheckpointConfig,
    writer: SummaryWriter,
    save: Callable[[str], None],
) -> None:
    """Train and validate from where `state` stands."""
    model, position = state.model, state.position
    limit = config.limit_train_batches  # [limit]
    num_batches = min(limit, len(train_loader)) if limit else len(train_loader)
    every = config.every_n_train_steps or inf
    with tqdm(total=num_batches) as bar:  # [progress]
        for epoch in range(position.epoch, config.max_epochs):  # [epochs]
            train_loader.sampler.set_epoch(epoch)  # [shuffle] anew in every epoch
            # [position] Images that were seen before the stop are not seen again.
            train_loader.sampler.skip = position.batch_idx * config.batch_size
            model.train()  # [mode]
            bar.reset()
            bar.set_description(f"Epoch {epoch}")
            bar.update(position.batch_idx)
            batches = islice(train_loader, num_batches - position.batch_idx)
            for batch_idx, batch in enumerate(batches, position.batch_idx):
                if batch_idx == 0 or position.global_step % every == 0 or signalled():
                    save("last.ckpt")  # [checkpoint]
                exit_if_signalled()  # [signal]
                if config.use_cuda:
                    batch = [tensor.cuda() for tensor in batch]  # [device]
                loss = model.training_step(batch, batch_idx)
                step = position.global_step
                require_finite("training loss", loss.item(), step)  # [finite]
                state.optimizer.zero_grad()  # [zero_grad]
                loss.backward()  # [backward]
                state.rng_states = None  # [exception] half a step cannot be saved
                state.optimizer.step()  # [step]
                state.loss_sum += loss.detach().cpu() * len(batch[0])  # [mean]
                state.num_images += len(batch[0])
                bar.update()
                if (step + 1) % LOG_EVERY_N_STEPS == 0:
                    log_metric(writer, "train_loss", loss.item(), step, epoch)
                    bar.set_postfix(train_loss=loss.item(), refresh=False)
                position.batch_idx, position.global_step = batch_idx + 1, step + 1
                if batch_idx + 1 < num_batches:  # or validation comes first
                    state.rng_states = get_rng_states()  # [rng]

            state.scheduler.step()  # [schedule]
            limit = config.limit_val_batches
            val_loss = evaluate(model, model.validation_step, val_loader, limit)
            require_finite("validation loss", val_loss, step + 1)  # [finite]
            train_loss = (state.loss_sum / state.num_images).item()
            log_metric(writer, "val_loss", val_loss, step, epoch)
            log_metric(writer, "train_loss_epoch", train_loss, step, epoch)
            bar.set_postfix(train_loss=train_loss, val_loss=val_loss)
            state.loss_sum, state.num_images = torch.zeros(()), 0
            position.epoch, position.batch_idx = epoch + 1, 0
            state.rng_states = get_rng_states()
            if config.checkpointing:
                keep_best(state, val_loss, config.save_top_k, save)  # [top_k]


def keep_best(
    state: TrainState, val_loss: float, k: int, save: Callable[[str], None]
) -> None:
    """Save an epoch that is one of the k best, and delete the one it displaces."""
    best = state.best_k_models
    worst = max(best, key=best.__getitem__, default="")
    full = len(best) == k
    if k == 0 or (full and val_loss >= best[worst]):
        return
    epoch, step = state.position.epoch - 1, state.position.global_step
    name = "best.ckpt" if k == 1 else f"epoch={epoch}-step={step}.ckpt"
    if full:
        del best[worst]
    path = os.path.realpath(state.folder / name)
    best[path] = torch.tensor(val_loss)
    save(name)
    if full and worst != path:
        Path(worst).unlink(missing_ok=True)


# 3. How to use the weights alone: the encoder, without all that has trained it.
def load_encoder(path: Path) -> nn.Module:
    """Return the encoder of a checkpoint, a bare nn.Sequential."""
    checkpoint = read_checkpoint(path)
    sizes = checkpoint["hyper_parameters"]
    encoder = AutoEncoder(sizes["hidden_dim"], sizes["latent_dim"]).encoder
    prefix = "encoder."  # with it, strict=False would load nothing, without a word
    weights = {
        name.removeprefix(prefix): weight
        for name, weight in checkpoint["state_dict"].items()
        if name.startswith(prefix)
    }
    encoder.load_state_dict(weights)
    return encoder


# 4. Do it.
def main(config: CheckpointConfig, run_dir: Path) -> None:
    """Train, then test the weights that did best in validation."""
    torch.manual_seed(config.seed)  # [seed] right before the weights are drawn
    model = PlainDecayingAutoEncoder(
        config.hidden_dim, config.latent_dim, config.learning_rate
    )
    data = MNISTData(config)
    state = fit(model, data, config, run_dir)
    best = state.best_k_models
    path = min(best, key=best.__getitem__, default=None)
    if path:
        load_weights(model, read_checkpoint(Path(path)), Path(path))
    test_loss = test(model, data, config, run_dir, state.position.global_step)
    best_val_loss = best[path].item() if path else None
    report(run_dir, data.dataset_name, best_val_loss, test_loss)
    if path:
        show_digit(load_encoder(Path(path)), data)


if __name__ == "__main__":
    run("plain_pytorch", "checkpoint", main)
