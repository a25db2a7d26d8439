"""Change the learning rate by a schedule, and log it, by hand.

python -m plain_pytorch.schedule --lr-scheduler one-cycle
"""

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LRScheduler,
    OneCycleLR,
    ReduceLROnPlateau,
    StepLR,
)
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from shared.checkpoints.lightning_format import LIGHTNING_VERSION
from shared.checkpoints.whole_files import write_checkpoint
from shared.data import Batch, MNISTData
from shared.model import AutoEncoder
from shared.options.common import LOG_EVERY_N_STEPS
from shared.options.schedule import Config
from shared.runtime.command import run


# 1. The model: its loss on a batch, and its optimizer.
class Model(AutoEncoder):
    """The shared model, and how it learns."""

    def __init__(
        self, hidden_dim: int, latent_dim: int, learning_rate: float, lr_scheduler: str
    ) -> None:
        super().__init__(hidden_dim, latent_dim)
        self.hparams: dict[str, Any] = {
            "hidden_dim": hidden_dim,
            "latent_dim": latent_dim,
            "learning_rate": learning_rate,
            "lr_scheduler": lr_scheduler,
        }

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, _ = batch
        loss = self.reconstruction_loss(images)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, _ = batch
        loss = self.reconstruction_loss(images)
        return loss

    def configure_optimizers(
        self, max_epochs: int, max_steps: int
    ) -> tuple[torch.optim.Optimizer, LRScheduler]:
        learning_rate = self.hparams["learning_rate"]
        optimizer = torch.optim.Adam(self.parameters(), lr=learning_rate)
        match self.hparams["lr_scheduler"]:
            case "step":
                scheduler: LRScheduler = StepLR(optimizer, step_size=1, gamma=0.5)
            case "cosine":
                scheduler = CosineAnnealingLR(optimizer, max_epochs)
            case "one-cycle":
                scheduler = OneCycleLR(optimizer, learning_rate, max_steps)
            case "plateau":
                scheduler = ReduceLROnPlateau(optimizer, factor=0.5, patience=0)
        return optimizer, scheduler


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
    max_steps = config.max_epochs * len(train_loader)
    optimizer, scheduler = model.configure_optimizers(config.max_epochs, max_steps)
    # Logging.
    writer = SummaryWriter(run_dir)
    # Epochs.
    global_step, best_val_loss = 0, float("inf")
    for epoch in range(config.max_epochs):
        # Training.
        model.train()
        train_loader.sampler.set_epoch(epoch)
        for batch_idx, batch in enumerate(tqdm(train_loader, f"Epoch {epoch}")):
            if config.use_cuda:
                batch = [tensor.cuda() for tensor in batch]
            loss = model.training_step(batch, batch_idx)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            global_step += 1
            if global_step % LOG_EVERY_N_STEPS == 0:
                writer.add_scalar("train_loss", loss.item(), global_step - 1)
                lr = optimizer.param_groups[0]["lr"]
                writer.add_scalar("lr-Adam", lr, global_step - 1)
            # Schedule: after every step.
            if isinstance(scheduler, OneCycleLR):
                scheduler.step()
        # Schedule: after every epoch.
        if isinstance(scheduler, StepLR | CosineAnnealingLR):
            scheduler.step()
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
        checkpoint = {
            "pytorch-lightning_version": LIGHTNING_VERSION,
            "epoch": epoch,
            "global_step": global_step,
            "state_dict": model.state_dict(),
            "optimizer_states": [optimizer.state_dict()],
            "lr_schedulers": [scheduler.state_dict()],
            "hyper_parameters": model.hparams,
        }
        write_checkpoint(run_dir / "checkpoints" / "last.ckpt", checkpoint)
        if val_loss < best_val_loss:
            best_val_loss = val_loss
            write_checkpoint(run_dir / "checkpoints" / "best.ckpt", checkpoint)
        # Schedule: after every validation.
        if isinstance(scheduler, ReduceLROnPlateau):
            scheduler.step(val_loss)
    writer.close()


# 3. The run.
def main(config: Config, run_dir: Path) -> None:
    """Train a new model."""
    torch.manual_seed(config.seed)
    model = Model(
        config.hidden_dim, config.latent_dim, config.learning_rate, config.lr_scheduler
    )
    data = MNISTData(config)
    fit(model, data, config, run_dir)


if __name__ == "__main__":
    run(main)
