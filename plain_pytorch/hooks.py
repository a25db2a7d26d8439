"""Log the gradient's norm and warm up the learning rate, by hand.

python -m plain_pytorch.hooks --warmup-steps 100
"""

import os
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from shared.checkpoints.lightning_format import LIGHTNING_VERSION
from shared.checkpoints.whole_files import write_checkpoint
from shared.data import Batch, MNISTData
from shared.model import AutoEncoder
from shared.options.common import LOG_EVERY_N_STEPS
from shared.options.hooks import Config
from shared.runtime.command import run


# 1. The model: its loss on a batch, and its optimizer.
class Model(AutoEncoder):
    """The shared model, and how it learns."""

    def __init__(
        self, hidden_dim: int, latent_dim: int, learning_rate: float, warmup_steps: int
    ) -> None:
        super().__init__(hidden_dim, latent_dim)
        self.hparams = {
            "hidden_dim": hidden_dim,
            "latent_dim": latent_dim,
            "learning_rate": learning_rate,
            "warmup_steps": warmup_steps,
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
            # Norm: of the gradient, after backward.
            grads = [w.grad for w in model.parameters() if w.grad is not None]
            grad_norm = get_total_norm(grads)
            # Warmup: of the learning rate, before the step.
            scale = min(1, (global_step + 1) / model.hparams["warmup_steps"])
            for group in optimizer.param_groups:
                group["lr"] = scale * model.hparams["learning_rate"]
            optimizer.step()
            global_step += 1
            if global_step % LOG_EVERY_N_STEPS == 0:
                writer.add_scalar("train_loss", loss.item(), global_step - 1)
                writer.add_scalar("grad_norm", grad_norm.item(), global_step - 1)
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
    model = Model(
        config.hidden_dim, config.latent_dim, config.learning_rate, config.warmup_steps
    )
    data = MNISTData(config)
    fit(model, data, config, run_dir)


if __name__ == "__main__":
    run(main)
