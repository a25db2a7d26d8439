"""Train a new head on a trained model, with a callback.

python -m lightning.transfer --unfreeze-backbone-at-epoch 2
"""

from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import (
    BackboneFinetuning,
    ModelCheckpoint,
    TQDMProgressBar,
)
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor
from torch.nn import functional as F
from torchmetrics.classification import MulticlassAccuracy

from shared.backbones import Classifier
from shared.checkpoints.pretrained import load_backbone
from shared.data import Batch, MNISTData
from shared.options.common import LOG_EVERY_N_STEPS
from shared.options.transfer import Config
from shared.runtime.command import run


# 1. The model: its loss on a batch, and its optimizer.
class Model(Classifier, pl.LightningModule):
    """The shared classifier, and how it learns."""

    def __init__(
        self, backbone: str, hidden_dim: int, latent_dim: int, learning_rate: float
    ) -> None:
        super().__init__(backbone, hidden_dim, latent_dim)
        self.save_hyperparameters()
        self.accuracy = MulticlassAccuracy(num_classes=10, average="micro")

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, labels = batch
        loss = F.cross_entropy(self(images), labels)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, labels = batch
        logits = self(images)
        loss = F.cross_entropy(logits, labels)
        self.accuracy.update(logits, labels)
        self.log("val_loss", loss, prog_bar=True)
        self.log("val_accuracy", self.accuracy, prog_bar=True)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(
            self.head.parameters(), lr=self.hparams["learning_rate"]
        )


class Data(MNISTData, pl.LightningDataModule):
    """The shared data, which already has the hooks of a LightningDataModule."""


# 2. The loop: for every epoch, for every batch, one step.
def fit(model: Model, data: Data, config: Config, run_dir: Path) -> None:
    """Train, and validate after every epoch."""
    # Freezing: the backbone's weights, and the statistics of its batch normalization.
    # BackboneFinetuning freezes the weights; the Trainer keeps the modes it finds.
    model.backbone.eval()
    trainer = pl.Trainer(
        # Data: one process downloads it.
        # The Trainer calls prepare_data, setup and the dataloader methods.
        # Device.
        accelerator="cuda" if config.use_cuda else "cpu",
        devices=1,
        # Optimizer.
        # The Trainer calls configure_optimizers.
        # Logging.
        logger=TensorBoardLogger(run_dir, name="", version="", default_hp_metric=False),
        log_every_n_steps=LOG_EVERY_N_STEPS,
        # Epochs.
        max_epochs=config.max_epochs,
        # Unfreezing: a small learning rate at first, doubled after every epoch.
        # BackboneFinetuning gives the optimizer a group of model.backbone's weights.
        # Training.
        # The Trainer calls train and set_epoch; for every batch, it moves the batch to
        # the device and calls training_step, zero_grad, backward and step.
        # Validation: the mean loss, weighted by batch size.
        # The Trainer calls eval, no_grad and validation_step; self.log takes the mean.
        # Checkpoints: the best and the last.
        callbacks=[
            BackboneFinetuning(config.unfreeze_backbone_at_epoch),
            ModelCheckpoint(run_dir / "checkpoints", "best", monitor="val_loss"),
            # save_last=True would save the last epoch only if it is the best as well.
            ModelCheckpoint(run_dir / "checkpoints", "last"),
            TQDMProgressBar(refresh_rate=LOG_EVERY_N_STEPS),
        ],
    )
    trainer.fit(model, datamodule=data)


# 3. The run.
def main(config: Config, run_dir: Path) -> None:
    """Train a new model."""
    pl.seed_everything(config.seed, verbose=False)
    model = Model(
        config.backbone, config.hidden_dim, config.latent_dim, config.learning_rate
    )
    if config.pretrained:
        load_backbone(model, config)
    data = Data(config)
    fit(model, data, config, run_dir)


if __name__ == "__main__":
    run(main)
