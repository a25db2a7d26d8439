"""Find bugs before they cost a night, by hand.

python -m plain_pytorch.debugging --fast-dev-run 1
"""

import os
from dataclasses import replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter
from torchinfo import summary
from tqdm import tqdm

from shared.checkpoints.lightning_format import LIGHTNING_VERSION
from shared.checkpoints.whole_files import write_checkpoint
from shared.data import Batch, MNISTData
from shared.model import AutoEncoder
from shared.options.common import LOG_EVERY_N_STEPS
from shared.options.debugging import Config
from shared.runtime.command import run
from shared.runtime.errors import UsageError, UserError


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
def count(limit: int | float, loader: DataLoader[Batch]) -> int:
    """Return how many batches a limit leaves: 1 is one of them, 1.0 are all."""
    if isinstance(limit, int):
        return min(limit, len(loader))
    if limit * len(loader) < 1:
        raise UsageError(f"{limit} of {len(loader)} batches is less than one batch")
    return int(limit * len(loader))


def fit(model: Model, data: MNISTData, config: Config, run_dir: Path) -> None:
    """Train, and validate after every epoch."""
    # Data: one process downloads it.
    if os.environ.get("LOCAL_RANK", "0") == "0":
        data.prepare_data()
    data.setup("fit")
    train_loader = data.train_dataloader()
    val_loader = data.val_dataloader()
    # Limits: 1 is one batch, 1.0 are all.
    num_train_batches = count(config.limit_train_batches or 1.0, train_loader)
    num_val_batches = count(config.limit_val_batches or 1.0, val_loader)
    # Overfitting: learn a few batches by heart, the same in every epoch.
    if config.overfit_batches:
        train_loader.sampler.shuffle = False
        num_train_batches = count(config.overfit_batches, train_loader)
        num_val_batches = count(config.overfit_batches, val_loader)
    # Device.
    if config.use_cuda:
        model.cuda()
    # Optimizer.
    optimizer = model.configure_optimizers()
    # Summary.
    summary(model, depth=1)
    # Anomalies: name the line whose gradient is nan.
    torch.autograd.set_detect_anomaly(config.detect_anomaly)
    # Logging.
    writer = SummaryWriter(run_dir)
    # Epochs.
    global_step, best_val_loss = 0, float("inf")
    for epoch in range(config.max_epochs):
        # Training.
        model.train()
        train_loader.sampler.set_epoch(epoch)
        batches = islice(train_loader, num_train_batches)
        bar = tqdm(batches, f"Epoch {epoch}", num_train_batches)
        for batch_idx, batch in enumerate(bar):
            if config.use_cuda:
                batch = [tensor.cuda() for tensor in batch]
            loss = model.training_step(batch, batch_idx)
            # Nan: end the run.
            if not loss.isfinite():
                where = f"at step {global_step}, batch {batch_idx}"
                raise UserError(f"loss {loss.item()} {where}: lower --learning-rate")
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
            for batch_idx, batch in enumerate(islice(val_loader, num_val_batches)):
                if config.use_cuda:
                    batch = [tensor.cuda() for tensor in batch]
                loss = model.validation_step(batch, batch_idx)
                loss_sum += loss.cpu() * len(batch[0])
                num_images += len(batch[0])
        val_loss = (loss_sum / num_images).item()
        print(f"val_loss: {val_loss:.6f}")
        writer.add_scalar("val_loss", val_loss, global_step - 1)
        # Checkpoints: the best and the last.
        checkpoint = {
            "pytorch-lightning_version": LIGHTNING_VERSION,
            "epoch": epoch,
            "global_step": global_step,
            "state_dict": model.state_dict(),
            "optimizer_states": [optimizer.state_dict()],
            "hyper_parameters": model.hparams,
        }
        write_checkpoint(run_dir / "checkpoints" / "last.ckpt", checkpoint)
        if val_loss < best_val_loss:
            best_val_loss = val_loss
            write_checkpoint(run_dir / "checkpoints" / "best.ckpt", checkpoint)
    writer.close()


# 3. The run.
def main(config: Config, run_dir: Path) -> None:
    """Train a new model."""
    torch.manual_seed(config.seed)
    model = Model(config.hidden_dim, config.latent_dim, config.learning_rate)
    data = MNISTData(config)
    # Dry run: a few batches, and no file is left.
    if config.fast_dev_run:
        n = config.fast_dev_run
        config = replace(
            config, max_epochs=1, limit_train_batches=n, limit_val_batches=n
        )
        with TemporaryDirectory() as folder:
            fit(model, data, config, Path(folder))
    else:
        fit(model, data, config, run_dir)


if __name__ == "__main__":
    run(main)
