"""Find bugs fast: dry runs, few batches, overfitting, profiles and nan, by hand.

    python -m plain_pytorch.debugging --fast-dev-run
    python -m plain_pytorch.debugging --overfit-batches 1 --max-epochs 100
    python -m plain_pytorch.debugging --profiler pytorch

`make diff LESSON=debugging` shows this file beside lightning/debugging.py.
"""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from itertools import islice
from math import inf
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.profiler import profile, schedule
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter
from torchinfo import summary
from tqdm import tqdm

from plain_pytorch.train import (
    PlainAutoEncoder,
    evaluate,
    log_metric,
    make_checkpoint,
    prepare,
)
from shared.checkpoints.whole_files import (
    load_weights,
    read_checkpoint,
    write_checkpoint,
)
from shared.data import Batch, MNISTData
from shared.options.debugging import DebuggingConfig
from shared.options.train import LOG_EVERY_N_STEPS
from shared.runtime.command import report, run
from shared.runtime.errors import require_finite
from shared.runtime.stopwatch import Stopwatch

Step = Callable[[Batch, int], Tensor]


# 1. What to learn: the loss on one batch, and the optimizer.
class PlainReconstructor(PlainAutoEncoder):
    """The autoencoder, whose forward takes every layer: a summary follows it."""

    def forward(self, images: Tensor) -> Tensor:
        return self.decoder(self.encoder(images.flatten(1)))

    def reconstruction_loss(self, images: Tensor) -> Tensor:
        return F.mse_loss(self(images), images.flatten(1))


# 2. How to train: for every epoch, for every batch, one step down the gradient.
def fit(
    model: PlainReconstructor,
    data: MNISTData,
    config: DebuggingConfig,
    run_dir: Path,
    stopwatch: Stopwatch,
) -> tuple[int, float | None]:
    """Train, validate after every epoch; return the steps and the best val_loss."""
    train_loader, val_loader = prepare(model, data, config)
    if config.overfit_batches:  # [overfit] on the same images in every epoch
        print("overfitting: the training images are not shuffled")
        train_loader = data.dataloader(data.train_set)
    # [summary] Of zeros: given an input_size, it would draw random numbers.
    summary(model, input_data=torch.zeros(1, 1, 28, 28))
    optimizer = model.configure_optimizers()
    num_batches = count(config.limit_train_batches, train_loader)  # [limit]
    num_val_batches = count(config.limit_val_batches, val_loader)
    global_step, best_val_loss = 0, inf
    with (
        nullcontext() if config.fast_dev_run else SummaryWriter(run_dir) as writer,
        tqdm(total=num_batches) as bar,  # [progress]
        make_profiler(config, run_dir, num_batches) as profiler,  # [profiler]
        torch.autograd.set_detect_anomaly(config.detect_anomaly),  # [anomaly]
    ):
        for epoch in range(config.max_epochs):  # [epochs]
            if not config.overfit_batches:
                train_loader.sampler.set_epoch(epoch)  # [shuffle] anew in every epoch
            model.train()  # [mode]
            loss_sum, num_images = torch.zeros(()), 0
            bar.reset()
            bar.set_description(f"Epoch {epoch}")
            for batch_idx, batch in enumerate(islice(train_loader, num_batches)):
                if config.use_cuda:
                    batch = [tensor.cuda() for tensor in batch]  # [device]
                step = model.training_step
                loss = watched(step, global_step, stopwatch, batch, batch_idx)
                optimizer.zero_grad()  # [zero_grad]
                with stopwatch.time("backward"):
                    loss.backward()  # [backward]
                with stopwatch.time("optimizer_step"):
                    optimizer.step()  # [step]
                loss_sum = loss_sum + loss.detach() * len(batch[0])  # [mean]
                num_images += len(batch[0])
                bar.update()
                if writer and (global_step + 1) % LOG_EVERY_N_STEPS == 0:  # [log]
                    log_metric(writer, "train_loss", loss.item(), global_step, epoch)
                    bar.set_postfix(train_loss=loss.item(), refresh=False)
                global_step += 1
                if profiler:
                    profiler.step()

            step = partial(watched, model.validation_step, global_step, stopwatch)
            val_loss = evaluate(model, step, val_loader, num_val_batches)
            train_loss = (loss_sum.cpu() / num_images).item()
            bar.set_postfix(train_loss=train_loss, val_loss=val_loss)
            if not writer:  # [dry_run] no curves, no checkpoints
                continue
            log_metric(writer, "val_loss", val_loss, global_step - 1, epoch)
            log_metric(writer, "train_loss_epoch", train_loss, global_step - 1, epoch)
            # [checkpoint] with the keys of Lightning's
            checkpoint = make_checkpoint(model, optimizer, data, epoch, global_step)
            if val_loss < best_val_loss:
                best_val_loss = val_loss
                write_checkpoint(run_dir / "checkpoints" / "best.ckpt", checkpoint)
            write_checkpoint(run_dir / "checkpoints" / "last.ckpt", checkpoint)
    return global_step, None if config.fast_dev_run else best_val_loss


def count(limit: int | float | None, loader: DataLoader[Batch]) -> int:
    """Return how many batches a limit leaves: 1 is one of them, 1.0 are all."""
    if isinstance(limit, float):
        return int(len(loader) * limit)
    return min(limit, len(loader)) if limit else len(loader)


def make_profiler(config: DebuggingConfig, run_dir: Path, num_batches: int) -> Any:
    """Return what records three steps into trace.json, or the whole of a short run."""
    if config.profiler != "pytorch":
        return nullcontext()
    long = num_batches * config.max_epochs >= 5
    return profile(
        schedule=schedule(wait=1, warmup=1, active=3, repeat=1) if long else None,
        on_trace_ready=lambda done: done.export_chrome_trace(f"{run_dir}/trace.json"),
    )


def watched(
    step: Step, global_step: int, stopwatch: Stopwatch, batch: Batch, batch_idx: int
) -> Tensor:
    """Return the loss of a step: timed, and the end of the run if it is not finite."""
    with stopwatch.time(step.__name__):
        loss = step(batch, batch_idx)
    name = step.__name__.replace("_step", " loss")
    # [finite] Anomaly mode looks at gradients: those of a nan loss can be finite.
    require_finite(name, loss.item(), global_step, batch_idx)
    return loss


# 3. How to evaluate: the mean loss over a loader, weighted by batch size.
def test(
    model: PlainReconstructor,
    data: MNISTData,
    config: DebuggingConfig,
    run_dir: Path,
    global_step: int,
    stopwatch: Stopwatch,
) -> float:
    """Return the loss on the test images."""
    data.setup("test")
    loader = data.test_dataloader()
    step = partial(watched, model.test_step, global_step, stopwatch)
    test_loss = evaluate(model, step, loader, count(config.limit_test_batches, loader))
    if not config.fast_dev_run:
        with SummaryWriter(run_dir) as writer:
            log_metric(writer, "test_loss", test_loss, global_step, config.max_epochs)
    return test_loss


# 4. Do it.
def main(config: DebuggingConfig, run_dir: Path) -> None:
    """Train, then test the weights that did best in validation."""
    if config.fast_dev_run:  # [dry_run]
        n = config.fast_dev_run
        config = replace(config, limit_train_batches=n, limit_val_batches=n)
        config = replace(config, limit_test_batches=n, max_epochs=1)
    if config.overfit_batches:  # [overfit]
        share = config.overfit_batches
        config = replace(config, limit_train_batches=share, limit_val_batches=share)
    torch.manual_seed(config.seed)  # [seed] right before the weights are drawn
    model = PlainReconstructor(
        config.hidden_dim, config.latent_dim, config.learning_rate
    )
    data = MNISTData(config)
    config.require_batches(data)  # [limit]
    stopwatch = Stopwatch()
    global_step, best_val_loss = fit(model, data, config, run_dir, stopwatch)
    best = run_dir / "checkpoints" / "best.ckpt"
    if not config.fast_dev_run:
        load_weights(model, read_checkpoint(best), best)
    test_loss = test(model, data, config, run_dir, global_step, stopwatch)
    report(run_dir, data.dataset_name, best_val_loss, test_loss)
    if config.profiler == "simple":  # [profiler]
        print(stopwatch.table())


if __name__ == "__main__":
    run("plain_pytorch", "debugging", main)
