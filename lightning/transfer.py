"""Tell ten classes apart by what another model has learned, with a Trainer.

    python -m lightning.transfer --unfreeze-backbone-at-epoch 2

`make diff LESSON=transfer` shows this file beside plain_pytorch/transfer.py, which does
the same; `diff lightning/train.py lightning/transfer.py` shows what it takes.
"""

import warnings
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import BackboneFinetuning
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Optimizer
from torchmetrics.classification import MulticlassAccuracy

from lightning.train import LitAutoEncoder, LitMNIST, make_trainer
from shared.backbones import Classifier, batch_norms, flat, load_resnet18
from shared.data import Batch
from shared.options.transfer import TransferConfig
from shared.pictures.picture_file import read_images
from shared.runtime.command import report, report_classifier, run
from shared.runtime.errors import require_finite


# 1. What to learn: a linear head, on a backbone that has learned something before.
class LitClassifier(Classifier, pl.LightningModule):
    """The shared classifier, and what to do with a batch of each kind."""

    def __init__(
        self, backbone: str, hidden_dim: int, latent_dim: int, learning_rate: float
    ) -> None:
        super().__init__(backbone, hidden_dim, latent_dim)
        self.save_hyperparameters()  # [hparams] stored in every checkpoint
        # [accuracy] micro: every image counts alike, not every class.
        self.val_accuracy = MulticlassAccuracy(num_classes=10, average="micro")
        self.test_accuracy = MulticlassAccuracy(num_classes=10, average="micro")

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, labels = batch
        loss = F.cross_entropy(self(images), labels)
        require_finite("training loss", loss.item(), self.global_step)  # [finite]
        self.log("train_loss", loss, prog_bar=True)  # [log]
        self.log("train_loss_epoch", loss, on_step=False, on_epoch=True)  # [mean]
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, labels = batch
        logits = self(images)
        loss = F.cross_entropy(logits, labels)
        require_finite("validation loss", loss.item(), self.global_step)  # [finite]
        self.val_accuracy.update(logits, labels)  # [accuracy]
        self.log("val_loss", loss, prog_bar=True)  # [log]
        self.log("val_accuracy", self.val_accuracy, prog_bar=True)
        return loss

    def test_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, labels = batch
        logits = self(images)
        loss = F.cross_entropy(logits, labels)
        require_finite("test loss", loss.item(), self.global_step)  # [finite]
        self.test_accuracy.update(logits, labels)  # [accuracy]
        self.log("test_loss", loss)  # [log]
        self.log("test_accuracy", self.test_accuracy)
        return loss

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, _ = batch
        return self(images).softmax(dim=1)

    def configure_optimizers(self) -> Optimizer:
        # [groups] The head alone; the backbone gets a group of its own, or none.
        return torch.optim.Adam(
            self.head.parameters(), lr=self.hparams["learning_rate"]
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["dataset"] = self.trainer.datamodule.dataset_name  # [checkpoint]


def load_backbone(model: LitClassifier, config: TransferConfig) -> None:
    """Give the backbone what has been learned before, if anything, and freeze it."""
    if config.weights != "none" and config.backbone == "encoder":
        autoencoder = LitAutoEncoder.load_from_checkpoint(  # [weights]
            config.weights, map_location="cpu", weights_only=True
        )
        autoencoder.freeze()  # [freeze] requires_grad_(False) and eval() in one
        model.backbone = flat(autoencoder.encoder).eval()
        return
    if config.weights != "none":
        load_resnet18(model.backbone, config.weights)
    model.backbone.requires_grad_(False)  # [freeze] by hand: it's no LightningModule
    model.backbone.eval()


# 2. How to train: the head alone, then the backbone, too, in smaller steps.
class Finetuning(BackboneFinetuning):
    """Lightning's callback, which alone sees to no mode, and freezes not all layers."""

    def freeze_before_training(self, pl_module: pl.LightningModule) -> None:
        # [freeze] By default, batch normalization goes on computing gradients.
        self.freeze(pl_module.backbone, train_bn=False)

    def finetune_function(
        self, pl_module: pl.LightningModule, epoch: int, optimizer: Optimizer
    ) -> None:
        super().finetune_function(pl_module, epoch, optimizer)
        if epoch == self.unfreeze_backbone_at_epoch:
            backbone: Any = pl_module.backbone
            backbone.train()  # [mode] A Trainer keeps the one that it finds.
            # [batch_norm] train_bn=False leaves them out of the optimizer, and no more.
            for layer in [] if self.train_bn else batch_norms(backbone):
                layer.requires_grad_(False)
                layer.eval()


def callbacks_for(config: TransferConfig) -> list[pl.Callback]:
    """Return what the Trainer of `train` is to do besides."""
    # Its loop stays as it is, and with it [download] [device] [deterministic]
    # [epochs] [limit] [shuffle] [zero_grad] [backward] [step] [progress] [checkpoint].
    if config.unfreeze_backbone_at_epoch is None:
        return []
    return [
        Finetuning(  # [groups] It adds one to the optimizer.
            config.unfreeze_backbone_at_epoch,
            # [rate] By default it doubles in every epoch, up to the head's.
            backbone_initial_ratio_lr=config.backbone_initial_ratio_lr,
            train_bn=config.train_bn,  # [batch_norm]
        )
    ]


# 3. How to evaluate: the loss and the accuracy, then the classes of one's own images.
# Nothing to write: the Trainer calls test_step and predict_step [no_grad].


# 4. Do it.
def main(config: TransferConfig, run_dir: Path) -> None:
    """Train a head, test the weights that did best, and classify images."""
    config = config.resolved()  # [verify] the checkpoint to start from
    images = read_images(config.predict, config.dataset) if config.predict else None
    pl.seed_everything(config.seed, verbose=False)  # [seed]
    model = LitClassifier(
        config.backbone, config.hidden_dim, config.latent_dim, config.learning_rate
    )
    data = LitMNIST(config)
    trainer = make_trainer(config, run_dir, *callbacks_for(config))
    best, best_val_loss = config.ckpt_path, None
    if best is None:
        # [mode] A Trainer asks whether layers in evaluation mode are meant: they are.
        warnings.filterwarnings("ignore", r"Found \d+ module\(s\) in eval mode")
        load_backbone(model, config)
        trainer.fit(model, datamodule=data)
        best = run_dir / "checkpoints" / "best.ckpt"
        best_val_loss = trainer.checkpoint_callback.best_model_score.item()
    trainer.test(model, datamodule=data, ckpt_path=best, weights_only=True)
    test_loss = trainer.callback_metrics["test_loss"].item()
    accuracy = trainer.callback_metrics["test_accuracy"].item()
    predictions = trainer.predict(model, images) if images else []
    report_classifier(config.predict, predictions, data.dataset_name, accuracy)
    report(run_dir, data.dataset_name, best_val_loss, test_loss)


if __name__ == "__main__":
    run("lightning", "transfer", main)
