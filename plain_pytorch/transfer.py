"""Tell ten classes apart by what another model has learned, with the loop by hand.

    python -m plain_pytorch.transfer --unfreeze-backbone-at-epoch 2

`make diff LESSON=transfer` shows this file beside lightning/transfer.py, which does the
same; `diff plain_pytorch/train.py plain_pytorch/transfer.py` shows what it takes.
"""

from itertools import islice
from math import inf
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter
from torchmetrics.classification import MulticlassAccuracy
from tqdm import tqdm

from plain_pytorch.train import (
    PlainAutoEncoder,
    evaluate,
    log_metric,
    make_checkpoint,
    prepare,
)
from shared.backbones import Classifier, batch_norms, flat, load_resnet18
from shared.checkpoints.whole_files import (
    load_weights,
    read_checkpoint,
    write_checkpoint,
)
from shared.data import Batch, MNISTData
from shared.options.train import LOG_EVERY_N_STEPS
from shared.options.transfer import TransferConfig
from shared.pictures.picture_file import read_images
from shared.runtime.command import report, report_classifier, run
from shared.runtime.errors import require_finite


# 1. What to learn: a linear head, on a backbone that has learned something before.
class PlainClassifier(Classifier):
    """The shared classifier, and what to do with a batch of each kind."""

    def __init__(
        self, backbone: str, hidden_dim: int, latent_dim: int, learning_rate: float
    ) -> None:
        super().__init__(backbone, hidden_dim, latent_dim)
        self.hparams: dict[str, Any] = {  # [hparams] stored in every checkpoint
            "backbone": backbone,
            "hidden_dim": hidden_dim,
            "latent_dim": latent_dim,
            "learning_rate": learning_rate,
        }
        # [accuracy] micro: every image counts alike, not every class.
        self.val_accuracy = MulticlassAccuracy(num_classes=10, average="micro")
        self.test_accuracy = MulticlassAccuracy(num_classes=10, average="micro")

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, labels = batch
        loss = F.cross_entropy(self(images), labels)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, labels = batch
        logits = self(images)
        loss = F.cross_entropy(logits, labels)
        self.val_accuracy.update(logits, labels)  # [accuracy]
        return loss

    def test_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, labels = batch
        logits = self(images)
        loss = F.cross_entropy(logits, labels)
        self.test_accuracy.update(logits, labels)  # [accuracy]
        return loss

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, _ = batch
        return self(images).softmax(dim=1)

    def configure_optimizers(self) -> Optimizer:
        # [groups] The head alone; the backbone gets a group of its own, or none.
        return torch.optim.Adam(
            self.head.parameters(), lr=self.hparams["learning_rate"]
        )


def load_backbone(model: PlainClassifier, config: TransferConfig) -> None:
    """Give the backbone what has been learned before, if anything, and freeze it."""
    if config.weights != "none" and config.backbone == "encoder":
        autoencoder = PlainAutoEncoder(
            config.hidden_dim, config.latent_dim, config.learning_rate
        )
        path = Path(config.weights)
        load_weights(autoencoder, read_checkpoint(path), path)  # [weights]
        model.backbone = flat(autoencoder.encoder)
    elif config.weights != "none":
        load_resnet18(model.backbone, config.weights)
    model.backbone.requires_grad_(False)  # [freeze] No gradients, so no steps.
    # [freeze] Nor does batch normalization follow the new images.
    model.backbone.eval()


# 2. How to train: the head alone, then the backbone, too, in smaller steps.
def fit(
    model: PlainClassifier, data: MNISTData, config: TransferConfig, run_dir: Path
) -> tuple[int, float]:
    """Train, validate after every epoch; return the steps and the best val_loss."""
    # [download] [deterministic]
    train_loader, val_loader = prepare(model, data, config)
    optimizer = model.configure_optimizers()
    frozen: list[nn.Module] = [model.backbone]
    unfreeze_at = config.unfreeze_backbone_at_epoch
    limit = config.limit_train_batches  # [limit]
    num_batches = min(limit, len(train_loader)) if limit else len(train_loader)
    global_step, best_val_loss = 0, inf
    with (
        SummaryWriter(run_dir) as writer,  # [log]
        tqdm(total=num_batches) as bar,  # [progress]
    ):
        for epoch in range(config.max_epochs):  # [epochs]
            if epoch == unfreeze_at:
                frozen = unfreeze(model, optimizer, config)
            elif unfreeze_at is not None and epoch > unfreeze_at:  # [rate]
                head, backbone = optimizer.param_groups
                backbone["lr"] = min(2 * backbone["lr"], head["lr"])
            train_loader.sampler.set_epoch(epoch)  # [shuffle] anew in every epoch
            model.train()  # [mode]
            for layer in frozen:
                layer.eval()  # [freeze] model.train() has reached it, too
            loss_sum, num_images = torch.zeros(()), 0
            bar.reset()
            bar.set_description(f"Epoch {epoch}")
            for batch_idx, batch in enumerate(islice(train_loader, num_batches)):
                if config.use_cuda:
                    batch = [tensor.cuda() for tensor in batch]  # [device]
                loss = model.training_step(batch, batch_idx)
                require_finite("training loss", loss.item(), global_step)  # [finite]
                optimizer.zero_grad()  # [zero_grad]
                loss.backward()  # [backward]
                optimizer.step()  # [step]
                loss_sum = loss_sum + loss.detach() * len(batch[0])  # [mean]
                num_images += len(batch[0])
                bar.update()
                if (global_step + 1) % LOG_EVERY_N_STEPS == 0:
                    log_metric(writer, "train_loss", loss.item(), global_step, epoch)
                    bar.set_postfix(train_loss=loss.item(), refresh=False)
                global_step += 1

            limit = config.limit_val_batches
            model.val_accuracy.reset()  # [accuracy]
            val_loss = evaluate(model, model.validation_step, val_loader, limit)
            require_finite("validation loss", val_loss, global_step)  # [finite]
            val_accuracy = model.val_accuracy.compute().item()  # [accuracy]
            train_loss = (loss_sum.cpu() / num_images).item()
            log_metric(writer, "val_loss", val_loss, global_step - 1, epoch)
            writer.add_scalar("val_accuracy", val_accuracy, global_step - 1)
            log_metric(writer, "train_loss_epoch", train_loss, global_step - 1, epoch)
            bar.set_postfix(val_loss=val_loss, val_accuracy=val_accuracy)
            # [checkpoint] with the keys of Lightning's
            checkpoint = make_checkpoint(model, optimizer, data, epoch, global_step)
            if val_loss < best_val_loss:
                best_val_loss = val_loss
                write_checkpoint(run_dir / "checkpoints" / "best.ckpt", checkpoint)
            write_checkpoint(run_dir / "checkpoints" / "last.ckpt", checkpoint)
    return global_step, best_val_loss


def unfreeze(
    model: PlainClassifier, optimizer: Optimizer, config: TransferConfig
) -> list[nn.Module]:
    """Let the backbone learn, too, in smaller steps; return what stays frozen."""
    model.backbone.requires_grad_(True)
    frozen = [] if config.train_bn else batch_norms(model.backbone)  # [batch_norm]
    for layer in frozen:
        layer.requires_grad_(False)
    lr = optimizer.param_groups[0]["lr"] * config.backbone_initial_ratio_lr  # [rate]
    weights = [weight for weight in model.backbone.parameters() if weight.requires_grad]
    optimizer.add_param_group({"params": weights, "lr": lr})  # [groups]
    return frozen


# 3. How to evaluate: the loss and the accuracy, then the classes of one's own images.
def test(
    model: PlainClassifier,
    data: MNISTData,
    config: TransferConfig,
    run_dir: Path,
    global_step: int,
) -> tuple[float, float]:
    """Return the loss and the accuracy on the test images."""
    data.setup("test")
    limit = config.limit_test_batches
    test_loss = evaluate(model, model.test_step, data.test_dataloader(), limit)
    require_finite("test loss", test_loss, global_step)  # [finite]
    test_accuracy = model.test_accuracy.compute().item()  # [accuracy]
    epochs = config.max_epochs if global_step else 0
    with SummaryWriter(run_dir) as writer:
        log_metric(writer, "test_loss", test_loss, global_step, epochs)
        writer.add_scalar("test_accuracy", test_accuracy, global_step)
    return test_loss, test_accuracy


@torch.inference_mode()  # [no_grad]
def predict(model: PlainClassifier, loader: DataLoader[Batch]) -> list[Tensor]:
    """Return for each image the probability of every class."""
    model.eval()  # [mode]
    device = next(model.parameters()).device
    return [
        model.predict_step([tensor.to(device) for tensor in batch], batch_idx).cpu()
        for batch_idx, batch in enumerate(loader)
    ]


# 4. Do it.
def main(config: TransferConfig, run_dir: Path) -> None:
    """Train a head, test the weights that did best, and classify images."""
    config = config.resolved()  # [verify] the checkpoint to start from
    images = read_images(config.predict, config.dataset) if config.predict else None
    torch.manual_seed(config.seed)  # [seed] right before the weights are drawn
    model = PlainClassifier(
        config.backbone, config.hidden_dim, config.latent_dim, config.learning_rate
    )
    data = MNISTData(config)
    best, global_step, best_val_loss = config.ckpt_path, 0, None
    if best is None:
        load_backbone(model, config)
        global_step, best_val_loss = fit(model, data, config, run_dir)
        best = run_dir / "checkpoints" / "best.ckpt"
    else:
        prepare(model, data, config)
    load_weights(model, read_checkpoint(best), best)
    test_loss, accuracy = test(model, data, config, run_dir, global_step)
    predictions = predict(model, images) if images else []
    report_classifier(config.predict, predictions, data.dataset_name, accuracy)
    report(run_dir, data.dataset_name, best_val_loss, test_loss)


if __name__ == "__main__":
    run("plain_pytorch", "transfer", main)
