"""Train a new head on a trained model, by hand.

python -m plain_pytorch.transfer --unfreeze-backbone-at-epoch 2
"""

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.tensorboard import SummaryWriter
from torchmetrics.classification import MulticlassAccuracy
from tqdm import tqdm

from shared.backbones import Classifier
from shared.checkpoints.lightning_format import LIGHTNING_VERSION
from shared.checkpoints.pretrained import load_backbone
from shared.checkpoints.whole_files import write_checkpoint
from shared.data import Batch, MNISTData
from shared.options.common import LOG_EVERY_N_STEPS
from shared.options.transfer import Config
from shared.runtime.command import run


# 1. The model: its loss on a batch, and its optimizer.
class Model(Classifier):
    """The shared classifier, and how it learns."""

    def __init__(
        self, backbone: str, hidden_dim: int, latent_dim: int, learning_rate: float
    ) -> None:
        super().__init__(backbone, hidden_dim, latent_dim)
        self.hparams: dict[str, Any] = {
            "backbone": backbone,
            "hidden_dim": hidden_dim,
            "latent_dim": latent_dim,
            "learning_rate": learning_rate,
        }
        self.accuracy = MulticlassAccuracy(num_classes=10, average="micro")

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, labels = batch
        loss = F.cross_entropy(self(images), labels)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, labels = batch
        logits = self(images)
        loss = F.cross_entropy(logits, labels)
        self.accuracy.update(logits, labels)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(
            self.head.parameters(), lr=self.hparams["learning_rate"]
        )


# 2. The loop: for every epoch, for every batch, one step.
def fit(model: Model, data: MNISTData, config: Config, run_dir: Path) -> None:
    """Train, and validate after every epoch."""
    # Freezing: the backbone's weights, and the statistics of its batch normalization.
    model.backbone.requires_grad_(False)
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
        # Unfreezing: a small learning rate at first, doubled after every epoch.
        if epoch == config.unfreeze_backbone_at_epoch:
            model.backbone.requires_grad_(True)
            lr = 0.1 * config.learning_rate
            optimizer.add_param_group({"params": model.backbone.parameters(), "lr": lr})
        elif epoch > config.unfreeze_backbone_at_epoch:
            head, backbone = optimizer.param_groups
            backbone["lr"] = min(2 * backbone["lr"], head["lr"])
        # Training.
        model.train()
        model.backbone.eval()  # train() has reached it, too
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
        model.accuracy.reset()
        loss_sum, num_images = torch.zeros(()), 0
        with torch.no_grad():
            for batch_idx, batch in enumerate(val_loader):
                if config.use_cuda:
                    batch = [tensor.cuda() for tensor in batch]
                loss = model.validation_step(batch, batch_idx)
                loss_sum += loss.cpu() * len(batch[0])
                num_images += len(batch[0])
        val_loss = (loss_sum / num_images).item()
        val_accuracy = model.accuracy.compute().item()
        print(f"val_loss: {val_loss:.6f}")
        print(f"val_accuracy: {val_accuracy:.4f}")
        writer.add_scalar("val_loss", val_loss, global_step - 1)
        writer.add_scalar("val_accuracy", val_accuracy, global_step - 1)
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
        config.backbone, config.hidden_dim, config.latent_dim, config.learning_rate
    )
    if config.pretrained:
        load_backbone(model, config)
    data = MNISTData(config)
    fit(model, data, config, run_dir)


if __name__ == "__main__":
    run(main)
