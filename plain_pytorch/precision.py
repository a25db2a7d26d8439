"""Train in 16 bits, and compiled, with the loop written by hand.

    python -m plain_pytorch.precision --precision bf16-mixed

`make diff LESSON=precision` shows this file beside lightning/precision.py, which does
the same. Compared with train.py, autocast stands around what computes a loss, in both
loops, and a gradient scaler around backward and step.
"""

from collections.abc import Callable
from itertools import islice
from math import inf
from pathlib import Path

import torch
from torch import Tensor
from torch.amp import GradScaler
from torch.nn.utils import clip_grad_norm_
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from plain_pytorch.train import PlainAutoEncoder, log_metric, make_checkpoint, prepare
from shared.checkpoints.whole_files import (
    load_weights,
    read_checkpoint,
    write_checkpoint,
)
from shared.data import Batch, MNISTData
from shared.options.precision import PrecisionConfig
from shared.options.train import LOG_EVERY_N_STEPS
from shared.runtime.command import report, run
from shared.runtime.errors import require_finite


# 1. What to learn: the loss on one batch, and the optimizer.
def make_model(config: PrecisionConfig) -> PlainAutoEncoder:
    """Return the model of train.py, with weights of 16 bits for bf16-true."""
    model = PlainAutoEncoder(config.hidden_dim, config.latent_dim, config.learning_rate)
    if config.precision == "bf16-true":
        model.bfloat16()  # [convert] before the optimizer sees the parameters
    return model


# 2. How to train: for every epoch, for every batch, one step down the gradient.
def autocast(config: PrecisionConfig) -> torch.autocast:
    """Return the context that calculates in 16 bits where the precision is mixed."""
    device_type = "cuda" if config.use_cuda else "cpu"
    dtype = torch.float16 if config.precision == "16-mixed" else torch.bfloat16
    mixed = config.precision in ("16-mixed", "bf16-mixed")
    return torch.autocast(device_type, dtype, enabled=mixed)


def fit(
    model: PlainAutoEncoder, data: MNISTData, config: PrecisionConfig, run_dir: Path
) -> tuple[int, float]:
    """Train, validate after every epoch; return the steps and the best val_loss."""
    # [download] [deterministic]
    train_loader, val_loader = prepare(model, data, config)
    # [scale] float16 rounds small gradients to 0: take those of a far larger loss.
    scaler = GradScaler(
        "cuda" if config.use_cuda else "cpu", enabled=config.precision == "16-mixed"
    )
    optimizer = model.configure_optimizers()
    training_step = model.training_step
    if config.compile:
        training_step = torch.compile(training_step)  # [compile]
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
                if config.precision == "bf16-true":
                    batch = [batch[0].bfloat16(), batch[1]]  # [convert] the images
                with autocast(config):  # [autocast] forward and loss, not backward
                    loss = training_step(batch, batch_idx)
                require_finite("training loss", loss.item(), global_step)  # [finite]
                optimizer.zero_grad()  # [zero_grad]
                scaler.scale(loss).backward()  # [backward]
                if config.gradient_clip_val:
                    scaler.unscale_(optimizer)  # [clip] or it clips the scaled gradient
                    clip_grad_norm_(model.parameters(), config.gradient_clip_val)
                scaler.step(optimizer)  # [step] none where a gradient is not finite
                scaler.update()  # [scale] half of it then
                # [mean] in 32 bits: 16 are too few to add up losses.
                loss_sum = loss_sum + loss.detach().float() * len(batch[0])
                num_images += len(batch[0])
                bar.update()
                if (global_step + 1) % LOG_EVERY_N_STEPS == 0:
                    log_metric(writer, "train_loss", loss.item(), global_step, epoch)
                    bar.set_postfix(train_loss=loss.item(), refresh=False)
                global_step += 1

            limit = config.limit_val_batches
            val_loss = evaluate(model, model.validation_step, val_loader, limit, config)
            require_finite("validation loss", val_loss, global_step)  # [finite]
            train_loss = (loss_sum.cpu() / num_images).item()
            log_metric(writer, "val_loss", val_loss, global_step - 1, epoch)
            log_metric(writer, "train_loss_epoch", train_loss, global_step - 1, epoch)
            bar.set_postfix(train_loss=train_loss, val_loss=val_loss)
            # [checkpoint] with the keys of Lightning's
            checkpoint = make_checkpoint(model, optimizer, data, epoch, global_step)
            if scaler.is_enabled():
                checkpoint["MixedPrecision"] = scaler.state_dict()  # [scale]
            if val_loss < best_val_loss:
                best_val_loss = val_loss
                write_checkpoint(run_dir / "checkpoints" / "best.ckpt", checkpoint)
            write_checkpoint(run_dir / "checkpoints" / "last.ckpt", checkpoint)
    return global_step, best_val_loss


# 3. How to evaluate: the mean loss over a loader, weighted by batch size.
@torch.no_grad()  # [no_grad]
def evaluate(
    model: PlainAutoEncoder,
    step: Callable[[Batch, int], Tensor],
    loader: DataLoader[Batch],
    limit: int | None,
    config: PrecisionConfig,
) -> float:
    """Return the mean loss of the first `limit` batches, or of all."""
    if config.compile:
        step = torch.compile(step)  # [compile] once: torch keeps it for the next epoch
    model.eval()  # [mode]
    loss_sum, num_images = torch.zeros(()), 0
    for batch_idx, batch in enumerate(islice(loader, limit)):  # [limit]
        if config.use_cuda:
            batch = [tensor.cuda() for tensor in batch]  # [device]
        if config.precision == "bf16-true":
            batch = [batch[0].bfloat16(), batch[1]]  # [convert] the images
        with autocast(config):  # [autocast] as in training
            loss = step(batch, batch_idx)
        loss_sum = loss_sum + loss.float() * len(batch[0])  # [mean] in 32 bits
        num_images += len(batch[0])
    return (loss_sum.cpu() / num_images).item()  # 32 bits, as in Lightning


def test(
    model: PlainAutoEncoder,
    data: MNISTData,
    config: PrecisionConfig,
    run_dir: Path,
    global_step: int,
) -> float:
    """Return the loss on the test images."""
    data.setup("test")
    limit = config.limit_test_batches
    test_loss = evaluate(model, model.test_step, data.test_dataloader(), limit, config)
    require_finite("test loss", test_loss, global_step)  # [finite]
    with SummaryWriter(run_dir) as writer:
        log_metric(writer, "test_loss", test_loss, global_step, config.max_epochs)
    return test_loss


# 4. Do it.
def main(config: PrecisionConfig, run_dir: Path) -> None:
    """Train, then test the weights that did best in validation."""
    torch.manual_seed(config.seed)  # [seed] right before the weights are drawn
    model = make_model(config)
    data = MNISTData(config)
    global_step, best_val_loss = fit(model, data, config, run_dir)
    best = run_dir / "checkpoints" / "best.ckpt"
    load_weights(model, read_checkpoint(best), best)
    test_loss = test(model, data, config, run_dir, global_step)
    report(run_dir, data.dataset_name, best_val_loss, test_loss)


if __name__ == "__main__":
    run("plain_pytorch", "precision", main)
