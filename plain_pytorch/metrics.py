"""Measure more than the loss, by hand.

python -m plain_pytorch.metrics --max-epochs 3
"""

import os
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.tensorboard import SummaryWriter
from torchmetrics import MeanMetric
from torchmetrics.image import PeakSignalNoiseRatio
from tqdm import tqdm

from shared.checkpoints.lightning_format import LIGHTNING_VERSION
from shared.checkpoints.whole_files import write_checkpoint
from shared.data import Batch, MNISTData
from shared.model import AutoEncoder
from shared.options.common import LOG_EVERY_N_STEPS
from shared.options.train import Config
from shared.runtime.command import run


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
        self.train_loss = MeanMetric()
        # In decibels, for pixels in -1..1. A logarithm, so not a mean over batches.
        self.val_psnr = PeakSignalNoiseRatio(data_range=2.0)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, _ = batch
        loss = self.reconstruction_loss(images)
        self.train_loss.update(loss.detach(), weight=len(images))
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, _ = batch
        reconstructions = self.decoder(self(images)).view_as(images)
        loss = F.mse_loss(reconstructions, images)
        self.val_psnr.update(reconstructions, images)
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
    # Logging.
    writer = SummaryWriter(run_dir)
    # Epochs.
    global_step, best_val_loss = 0, float("inf")
    for epoch in range(config.max_epochs):
        # Training.
        model.train()
        train_loader.sampler.set_epoch(epoch)
        bar = tqdm(train_loader, f"Epoch {epoch}")
        for batch_idx, batch in enumerate(bar):
            if config.use_cuda:
                batch = [tensor.cuda() for tensor in batch]
            loss = model.training_step(batch, batch_idx)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            global_step += 1
            if global_step % LOG_EVERY_N_STEPS == 0:
                writer.add_scalar("train_loss_step", loss.item(), global_step - 1)
                bar.set_postfix(train_loss_step=loss.item())
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
        # Metrics: computed and reset after every epoch.
        metrics = {"val_psnr": model.val_psnr, "train_loss_epoch": model.train_loss}
        for tag, metric in metrics.items():
            value = metric.compute().item()
            print(f"{tag}: {value:.6f}")
            writer.add_scalar(tag, value, global_step - 1)
            metric.reset()
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
    fit(model, data, config, run_dir)


if __name__ == "__main__":
    run(main)
