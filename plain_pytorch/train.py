"""Train an autoencoder on MNIST, with the loop written by hand.

    python -m plain_pytorch.train --max-epochs 3

`make diff` shows this file beside lightning/train.py, which does the same.
"""

import os
from collections.abc import Callable
from itertools import islice
from math import inf
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from shared.checkpoints.lightning_format import LIGHTNING_VERSION
from shared.checkpoints.whole_files import (
    load_weights,
    read_checkpoint,
    write_checkpoint,
)
from shared.data import Batch, MNISTData
from shared.model import AutoEncoder
from shared.options.train import LOG_EVERY_N_STEPS, TrainConfig
from shared.runtime.command import report, run
from shared.runtime.errors import require_finite


# 1. What to learn: the loss on one batch, and the optimizer.
class PlainAutoEncoder(AutoEncoder):
    """The shared model, and what to do with a batch of each kind."""

    def __init__(self, hidden_dim: int, latent_dim: int, learning_rate: float) -> None:
        super().__init__(hidden_dim, latent_dim)
        self.hparams = {  # [hparams] stored in every checkpoint
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

    def test_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, _ = batch
        loss = self.reconstruction_loss(images)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.hparams["learning_rate"])


# 2. How to train: for every epoch, for every batch, one step down the gradient.
def prepare(
    model: nn.Module, data: MNISTData, config: TrainConfig
) -> tuple[DataLoader[Batch], DataLoader[Batch]]:
    """Return the loaders to train and to validate with; put the model on its device."""
    rank = os.environ.get("RANK", "0")  # torchrun numbers its processes
    if rank == "0":
        data.prepare_data()  # [download]
    data.setup("fit")
    if config.use_cuda:
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # [deterministic]
        torch.use_deterministic_algorithms(True)
        model.cuda()  # [device] before the optimizer sees the parameters
    return data.train_dataloader(), data.val_dataloader()


def fit(
    model: PlainAutoEncoder, data: MNISTData, config: TrainConfig, run_dir: Path
) -> tuple[int, float]:
    """Train, validate after every epoch; return the steps and the best val_loss."""
    train_loader, val_loader = prepare(model, data, config)
    optimizer = model.configure_optimizers()
    limit = config.limit_train_batches  # [limit]
    num_batches = min(limit, len(train_loader)) if limit else len(train_loader)
    global_step, best_val_loss = 0, inf
    with (
        SummaryWriter(run_dir) as writer,  # [log]
        tqdm(total=num_batches) as bar,  # [progress]
    ):
        for epoch in range(config.max_epochs):  # [epochs]
            train_loader.sampler.set_epoch(epoch)  # [shuffle] anew in every epoch
            model.train()  # [mode]
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
            val_loss = evaluate(model, model.validation_step, val_loader, limit)
            require_finite("validation loss", val_loss, global_step)  # [finite]
            train_loss = (loss_sum.cpu() / num_images).item()
            log_metric(writer, "val_loss", val_loss, global_step - 1, epoch)
            log_metric(writer, "train_loss_epoch", train_loss, global_step - 1, epoch)
            bar.set_postfix(train_loss=train_loss, val_loss=val_loss)
            # [checkpoint] with the keys of Lightning's
            checkpoint = make_checkpoint(model, optimizer, data, epoch, global_step)
            if val_loss < best_val_loss:
                best_val_loss = val_loss
                write_checkpoint(run_dir / "checkpoints" / "best.ckpt", checkpoint)
            write_checkpoint(run_dir / "checkpoints" / "last.ckpt", checkpoint)
    return global_step, best_val_loss


def log_metric(
    writer: SummaryWriter, tag: str, value: float, step: int, epoch: int
) -> None:
    """Write one point of a curve, and the epoch it belongs to, as Lightning does."""
    writer.add_scalar(tag, value, step)
    writer.add_scalar("epoch", epoch, step)


def make_checkpoint(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    data: MNISTData,
    epoch: int,
    step: int,
) -> dict[str, Any]:
    """Return what a checkpoint holds, `step` steps after the start."""
    return {
        "pytorch-lightning_version": LIGHTNING_VERSION,
        "epoch": epoch,
        "global_step": step,
        "state_dict": model.state_dict(),
        "optimizer_states": [optimizer.state_dict()],
        "hyper_parameters": model.hparams,
        "dataset": data.dataset_name,
    }


# 3. How to evaluate: the mean loss over a loader, weighted by batch size.
@torch.no_grad()  # [no_grad]
def evaluate(
    model: nn.Module,
    step: Callable[[Batch, int], Tensor],
    loader: DataLoader[Batch],
    limit: int | None,
) -> float:
    """Return the mean loss of the first `limit` batches, or of all."""
    model.eval()  # [mode]
    on_gpu = next(model.parameters()).is_cuda
    loss_sum, num_images = torch.zeros(()), 0
    for batch_idx, batch in enumerate(islice(loader, limit)):  # [limit]
        if on_gpu:
            batch = [tensor.cuda() for tensor in batch]  # [device]
        loss = step(batch, batch_idx)
        loss_sum = loss_sum + loss * len(batch[0])  # [mean]
        num_images += len(batch[0])
    return (loss_sum.cpu() / num_images).item()  # 32 bits, as in Lightning


def test(
    model: PlainAutoEncoder,
    data: MNISTData,
    config: TrainConfig,
    run_dir: Path,
    global_step: int,
) -> float:
    """Return the loss on the test images."""
    data.setup("test")
    limit = config.limit_test_batches
    test_loss = evaluate(model, model.test_step, data.test_dataloader(), limit)
    require_finite("test loss", test_loss, global_step)  # [finite]
    with SummaryWriter(run_dir) as writer:
        log_metric(writer, "test_loss", test_loss, global_step, config.max_epochs)
    return test_loss


# 4. Do it.
def main(config: TrainConfig, run_dir: Path) -> None:
    """Train, then test the weights that did best in validation."""
    torch.manual_seed(config.seed)  # [seed] right before the weights are drawn
    model = PlainAutoEncoder(config.hidden_dim, config.latent_dim, config.learning_rate)
    data = MNISTData(config)
    global_step, best_val_loss = fit(model, data, config, run_dir)
    best = run_dir / "checkpoints" / "best.ckpt"
    load_weights(model, read_checkpoint(best), best)
    test_loss = test(model, data, config, run_dir, global_step)
    report(run_dir, data.dataset_name, best_val_loss, test_loss)


if __name__ == "__main__":
    run("plain_pytorch", "train", main)
