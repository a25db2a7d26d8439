"""Go on exactly, whatever stopped the run, by hand.

python -m plain_pytorch.resume --max-epochs 3 --ckpt-path last
"""

import os
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from shared.checkpoints.lightning_format import (
    LIGHTNING_VERSION,
    Position,
    from_callbacks,
    from_loops,
    to_callbacks,
    to_loops,
)
from shared.checkpoints.resume import (
    describe,
    find_checkpoint,
    keep_best,
    only_process,
    read_same_run,
)
from shared.checkpoints.rng import get_rng_states, set_rng_states
from shared.checkpoints.whole_files import write_checkpoint
from shared.data import Batch, MNISTData
from shared.model import AutoEncoder
from shared.options.common import LOG_EVERY_N_STEPS
from shared.options.resume import Config
from shared.runtime.command import run
from shared.runtime.signals import (
    exit_if_signalled,
    hold_signals,
    release_signals,
    signalled,
)


# 1. The model: its loss on a batch, and its optimizer.
class Model(AutoEncoder):
    """The shared model, and how it learns."""

    def __init__(self, hidden_dim: int, latent_dim: int, learning_rate: float) -> None:
        super().__init__(hidden_dim, latent_dim)
        self.hparams = {
            "hidden_dim": hidden_dim,
            "latent_dim": latent_dim,
            "learning_rate": learning_rate,
        }

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, _ = batch
        loss = self.reconstruction_loss(images)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, _ = batch
        loss = self.reconstruction_loss(images)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.hparams["learning_rate"])


# 2. The loop: for every epoch, for every batch, one step.
def fit(model: Model, data: MNISTData, config: Config, run_dir: Path) -> None:
    """Train, and validate after every epoch."""
    # Data: one process downloads it.
    if os.environ.get("LOCAL_RANK", "0") == "0":
        data.prepare_data()
    data.setup("fit")
    train_loader = data.train_dataloader()
    val_loader = data.val_dataloader()
    # Device.
    if config.use_cuda:
        model.cuda()
    # Optimizer.
    optimizer = model.configure_optimizers()
    # Resuming: at the step that was saved, if it is the same run.
    folder = run_dir / "checkpoints"
    position = Position()
    best: dict[str, Tensor] = {}
    ckpt_path = find_checkpoint(config.ckpt_path, run_dir)
    if ckpt_path:
        saved = read_same_run(ckpt_path, config, data, model)
        position = from_loops(saved["loops"])
        model.load_state_dict(saved["state_dict"])
        optimizer.load_state_dict(saved["optimizer_states"][0])
        best = from_callbacks(saved["callbacks"], folder)
        set_rng_states(saved["rng_states"])
    # Logging.
    # Points after the checkpoint are dropped: they come again.
    writer = SummaryWriter(run_dir, purge_step=position.global_step)

    # Saving: all that Resuming loads, and all that it compares.
    def save(path: Path) -> None:
        writer.flush()  # the curves up to this step
        checkpoint = {
            "pytorch-lightning_version": LIGHTNING_VERSION,
            "epoch": epoch,
            "global_step": global_step,
            "state_dict": model.state_dict(),
            "optimizer_states": [optimizer.state_dict()],
            "hyper_parameters": model.hparams,
            "lr_schedulers": [],
            "loops": to_loops(position),
            "callbacks": to_callbacks(best),
            "rng_states": get_rng_states(),
            **describe(config, data),
        }
        write_checkpoint(path, checkpoint)

    # Signals: Ctrl-C and SIGTERM wait until a step is done.
    hold_signals()
    # Epochs.
    global_step = position.global_step
    for epoch in range(position.epoch, config.max_epochs):
        # Training.
        model.train()
        train_loader.sampler.set_epoch(epoch)
        train_loader.sampler.skip = position.batch_idx * config.batch_size
        batches = tqdm(train_loader, f"Epoch {epoch}", initial=position.batch_idx)
        for batch_idx, batch in enumerate(batches, position.batch_idx):
            position = Position(epoch, batch_idx, global_step)
            if global_step % config.every_n_train_steps == 0 or signalled():
                save(folder / "last.ckpt")
            exit_if_signalled()
            if config.use_cuda:
                batch = [tensor.cuda() for tensor in batch]
            loss = model.training_step(batch, batch_idx)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            global_step += 1
            if global_step % LOG_EVERY_N_STEPS == 0:
                writer.add_scalar("train_loss", loss.item(), global_step - 1)
        # Validation: the mean loss, weighted by batch size.
        model.eval()
        loss_sum, num_images = torch.zeros(()), 0
        with torch.no_grad():
            for batch_idx, batch in enumerate(val_loader):
                if config.use_cuda:
                    batch = [tensor.cuda() for tensor in batch]
                loss = model.validation_step(batch, batch_idx)
                loss_sum += loss.cpu() * len(batch[0])
                num_images += len(batch[0])
        val_loss = (loss_sum / num_images).item()
        print(f"val_loss: {val_loss:.6f}")
        writer.add_scalar("val_loss", val_loss, global_step - 1)
        # Checkpoints: the best and the last.
        position = Position(epoch + 1, 0, global_step)
        name = "best.ckpt" if config.save_top_k == 1 else f"epoch={epoch}.ckpt"
        keep_best(best, config.save_top_k, folder / name, val_loss, save)
        save(folder / "last.ckpt")
    release_signals()
    writer.close()


# 3. The run.
def main(config: Config, run_dir: Path) -> None:
    """Train a new model."""
    torch.manual_seed(config.seed)
    model = Model(config.hidden_dim, config.latent_dim, config.learning_rate)
    data = MNISTData(config)
    with only_process(run_dir):
        fit(model, data, config, run_dir)


if __name__ == "__main__":
    run(main)
