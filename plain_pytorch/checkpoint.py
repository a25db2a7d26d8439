"""Save the best epochs and the last, and go on from one, by hand.

python -m plain_pytorch.checkpoint --max-epochs 5 --ckpt-path last.ckpt
"""

import os
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from shared.checkpoints.lightning_format import LIGHTNING_VERSION, Position, to_loops
from shared.checkpoints.resume import read_epoch_end
from shared.checkpoints.whole_files import read_checkpoint, write_checkpoint
from shared.data import Batch, MNISTData
from shared.model import AutoEncoder
from shared.options.checkpoint import Config
from shared.options.common import LOG_EVERY_N_STEPS
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
    # Resuming: after the epoch that was saved.
    first_epoch, global_step = 0, 0
    if config.ckpt_path:
        saved = read_epoch_end(config.ckpt_path, config)
        model.load_state_dict(saved["state_dict"])
        optimizer.load_state_dict(saved["optimizer_states"][0])
        first_epoch, global_step = saved["epoch"] + 1, saved["global_step"]
    # Logging.
    writer = SummaryWriter(run_dir)
    # Epochs.
    best: dict[str, float] = {}
    for epoch in range(first_epoch, config.max_epochs):
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
            "hyper_parameters": model.hparams,
            "lr_schedulers": [],
            "loops": to_loops(Position(epoch + 1, 0, global_step)),
        }
        folder = run_dir / "checkpoints"
        if config.save_last:
            write_checkpoint(folder / "last.ckpt", checkpoint)
        # A better epoch takes the place of the worst one that is kept.
        name = "best.ckpt" if config.save_top_k == 1 else f"epoch={epoch}.ckpt"
        has_room = len(best) != config.save_top_k
        if has_room or val_loss < max(best.values(), default=0):
            write_checkpoint(folder / name, checkpoint)
            best[name] = val_loss
            if 0 < config.save_top_k < len(best):
                worst = max(best, key=lambda name: best[name])
                (folder / worst).unlink()
                del best[worst]
    writer.close()


# 3. The run.
def load_encoder(path: Path) -> nn.Module:
    """Return the trained encoder of a checkpoint, which either half has written."""
    checkpoint = read_checkpoint(path)
    model = Model(**checkpoint["hyper_parameters"])
    model.load_state_dict(checkpoint["state_dict"])
    return model.encoder


def main(config: Config, run_dir: Path) -> None:
    """Train a new model."""
    torch.manual_seed(config.seed)
    model = Model(config.hidden_dim, config.latent_dim, config.learning_rate)
    data = MNISTData(config)
    fit(model, data, config, run_dir)
    if config.save_last:
        encoder = load_encoder(run_dir / "checkpoints" / "last.ckpt")
        images, _ = next(iter(data.val_dataloader()))
        embedding = encoder(images[:1].flatten(1))
        print("embedding of the first image:", embedding.tolist())


if __name__ == "__main__":
    run(main)
