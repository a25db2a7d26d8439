"""Log all that TensorBoard can show, and a table beside it, by hand.

    python -m plain_pytorch.metrics --log-every-n-steps 50

`make diff LESSON=metrics` shows this file beside lightning/metrics.py, which does the
same.
"""

import csv
from itertools import islice
from math import inf
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter
from torchmetrics import MeanMetric, RunningMean
from torchmetrics.image import PeakSignalNoiseRatio
from tqdm import tqdm

from plain_pytorch.train import PlainAutoEncoder, evaluate, make_checkpoint, prepare
from shared.checkpoints.whole_files import (
    load_weights,
    read_checkpoint,
    write_checkpoint,
)
from shared.data import Batch, MNISTData
from shared.options.metrics import MetricsConfig
from shared.pictures import summaries
from shared.runtime.command import report, run
from shared.runtime.errors import require_finite

# [csv] In the order of CSVLogger, which writes the file anew when a name is new to it.
COLUMNS = ["epoch", "step", "test_loss", "train_loss_epoch", "train_loss_running"]
COLUMNS += ["train_loss_step", "val_loss", "val_psnr"]


# 1. What to measure: metrics beside the loss, and what can be looked at.
class PlainMeasuredAutoEncoder(PlainAutoEncoder):
    """The autoencoder, with metrics, which move with it and are in no checkpoint."""

    def __init__(self, hidden_dim: int, latent_dim: int, learning_rate: float) -> None:
        super().__init__(hidden_dim, latent_dim, learning_rate)
        self.train_loss = MeanMetric()  # [mean]
        # [running] Of the last steps, never reset. The mean of the epoch counts them
        # all alike, also those of its start, when the model was a worse one.
        self.running_loss = RunningMean(window=20)
        # [metric] In decibels, of pixels in -1..1. The mean over batches would be
        # wrong, however weighted: a logarithm has to come after the sums.
        self.val_psnr = PeakSignalNoiseRatio(data_range=2.0)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, _ = batch
        loss = self.reconstruction_loss(images)
        self.train_loss.update(loss.detach(), weight=len(images))  # [mean]
        self.running_loss.update(loss.detach())  # [running]
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, _ = batch
        reconstructions = self.decoder(self(images)).view_as(images)
        loss = F.mse_loss(reconstructions, images)
        self.val_psnr.update(reconstructions, images)  # [metric]
        return loss


# 2. How to train: for every epoch, for every batch, one step down the gradient.
class Loggers(NamedTuple):
    """Where the numbers go: to curves and to a table, in csv/metrics.csv."""

    writer: SummaryWriter
    table: "csv.DictWriter[str]"

    def log_metrics(self, metrics: dict[str, float], step: int, epoch: int) -> None:
        """Write a point of each curve, and a row of the table."""
        metrics = {**metrics, "epoch": epoch}
        for tag, value in metrics.items():
            self.writer.add_scalar(tag, value, step)  # [log]
        self.table.writerow({**metrics, "step": step})  # [csv]


def fit(
    model: PlainMeasuredAutoEncoder,
    data: MNISTData,
    config: MetricsConfig,
    run_dir: Path,
    loaders: tuple[DataLoader[Batch], DataLoader[Batch]],
    loggers: Loggers,
) -> tuple[int, float]:
    """Train, validate after every epoch; return the steps and the best val_loss."""
    train_loader, val_loader = loaders
    writer = loggers.writer
    optimizer = model.configure_optimizers()
    limit = config.limit_train_batches  # [limit]
    num_batches = min(limit, len(train_loader)) if limit else len(train_loader)
    global_step, best_val_loss = 0, inf
    summaries.write_graph(writer, model)  # [graph]
    with tqdm(total=num_batches) as bar:  # [progress]
        for epoch in range(config.max_epochs):  # [epochs]
            train_loader.sampler.set_epoch(epoch)  # [shuffle] anew in every epoch
            model.train()  # [mode]
            model.train_loss.reset()  # [mean]
            model.val_psnr.reset()  # [metric]
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
                bar.update()
                if (global_step + 1) % config.log_every_n_steps == 0:
                    metrics = {
                        "train_loss_step": loss.item(),  # [log]
                        "train_loss_running": model.running_loss.compute().item(),
                    }
                    loggers.log_metrics(metrics, global_step, epoch)
                    bar.set_postfix(metrics, refresh=False)
                global_step += 1

            step = global_step - 1
            summaries.write_histograms(writer, model, step)  # [histogram]
            limit = config.limit_val_batches
            val_loss = evaluate(model, model.validation_step, val_loader, limit)
            require_finite("validation loss", val_loss, global_step)  # [finite]
            val_psnr = model.val_psnr.compute().item()
            val_metrics = {"val_loss": val_loss, "val_psnr": val_psnr}
            loggers.log_metrics(val_metrics, step, epoch)
            summaries.write_images(writer, model, data.val_set, step)  # [image]
            train_metrics = {"train_loss_epoch": model.train_loss.compute().item()}
            loggers.log_metrics(train_metrics, step, epoch)
            bar.set_postfix({**train_metrics, **val_metrics})
            # [checkpoint] with the keys of Lightning's
            checkpoint = make_checkpoint(model, optimizer, data, epoch, global_step)
            if val_loss < best_val_loss:
                best_val_loss = val_loss
                write_checkpoint(run_dir / "checkpoints" / "best.ckpt", checkpoint)
            write_checkpoint(run_dir / "checkpoints" / "last.ckpt", checkpoint)
    return global_step, best_val_loss


# 3. How to evaluate: the mean loss over the test images.
def test(
    model: PlainMeasuredAutoEncoder,
    data: MNISTData,
    config: MetricsConfig,
    loggers: Loggers,
    global_step: int,
) -> float:
    """Return the loss on the test images."""
    data.setup("test")
    limit = config.limit_test_batches
    test_loss = evaluate(model, model.test_step, data.test_dataloader(), limit)
    require_finite("test loss", test_loss, global_step)  # [finite]
    loggers.log_metrics({"test_loss": test_loss}, global_step, config.max_epochs)
    return test_loss


# 4. Do it.
def main(config: MetricsConfig, run_dir: Path) -> None:
    """Train, then test the weights that did best in validation."""
    torch.manual_seed(config.seed)  # [seed] right before the weights are drawn
    model = PlainMeasuredAutoEncoder(
        config.hidden_dim, config.latent_dim, config.learning_rate
    )
    data = MNISTData(config)
    loaders = prepare(model, data, config)  # [device] [deterministic]
    (run_dir / "csv").mkdir()
    with (
        SummaryWriter(run_dir) as writer,
        # A line is written when it ends: a run that is killed keeps those until then.
        (run_dir / "csv" / "metrics.csv").open("w", 1, newline="") as file,
    ):
        loggers = Loggers(writer, csv.DictWriter(file, COLUMNS))
        loggers.table.writeheader()
        step, best_val_loss = fit(model, data, config, run_dir, loaders, loggers)
        best = run_dir / "checkpoints" / "best.ckpt"
        load_weights(model, read_checkpoint(best), best)
        test_loss = test(model, data, config, loggers, step)
        summaries.write_embeddings(writer, model, data.test_set, step)  # [embedding]
        final = {"hp/val_loss": best_val_loss, "hp/test_loss": test_loss}
        # [hparams] run_name="." is this run; by default they would be one of their own.
        writer.add_hparams(model.hparams, final, run_name=".", global_step=step)
    report(run_dir, data.dataset_name, best_val_loss, test_loss)


if __name__ == "__main__":
    run("plain_pytorch", "metrics", main)
