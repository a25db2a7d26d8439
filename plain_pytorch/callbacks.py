"""Train with what happens between the epochs: stopping, schedules, averages, pictures.

    python -m plain_pytorch.callbacks --max-epochs 10 --lr-scheduler cosine

`make diff LESSON=callbacks` shows this file beside lightning/callbacks.py, which does
the same; `diff plain_pytorch/train.py plain_pytorch/callbacks.py` shows what it takes.
"""

from itertools import islice
from math import inf, isnan
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LRScheduler,
    OneCycleLR,
    ReduceLROnPlateau,
    StepLR,
)
from torch.optim.swa_utils import SWALR, AveragedModel, get_ema_avg_fn, get_swa_avg_fn
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from plain_pytorch.train import (
    PlainAutoEncoder,
    evaluate,
    log_metric,
    make_checkpoint,
    prepare,
)
from shared.averaging import get_mean_avg_fn
from shared.checkpoints.whole_files import (
    load_weights,
    read_checkpoint,
    write_checkpoint,
)
from shared.data import MNISTData
from shared.options.callbacks import CallbacksConfig
from shared.options.train import LOG_EVERY_N_STEPS
from shared.pictures.pictures import reconstruction_grid
from shared.runtime.command import report, report_epochs, run
from shared.runtime.errors import require_finite


# 1. What to learn: the loss on one batch, the optimizer, and its learning rate.
class ScheduledAutoEncoder(PlainAutoEncoder):
    """The model of `train`, whose learning rate follows a schedule."""

    def __init__(
        self, hidden_dim: int, latent_dim: int, learning_rate: float, lr_scheduler: str
    ) -> None:
        super().__init__(hidden_dim, latent_dim, learning_rate)
        hparams: Any = self.hparams
        hparams["lr_scheduler"] = lr_scheduler

    def configure_scheduler(
        self, optimizer: torch.optim.Optimizer, max_epochs: int, max_steps: int
    ) -> LRScheduler | None:
        match self.hparams["lr_scheduler"]:  # [schedule]
            case "step":
                return StepLR(optimizer, step_size=1, gamma=0.5)
            case "cosine":
                return CosineAnnealingLR(optimizer, max_epochs)
            case "one-cycle":
                return OneCycleLR(optimizer, self.hparams["learning_rate"], max_steps)
            case "plateau":
                return ReduceLROnPlateau(optimizer, factor=0.5, patience=0)
        return None


# 2. How to train: for every epoch, for every batch, one step down the gradient.
class EarlyStopping:
    """Says after each validation whether to stop, and why, as Lightning's does.

    It compares in the 32 bits of the loss: in the 64 of a Python float, a loss of 0.7
    is below a threshold of 0.7.
    """

    def __init__(self, config: CallbacksConfig) -> None:
        self.config = config
        self.is_better = torch.lt if config.mode == "min" else torch.gt
        self.min_delta = config.min_delta * (1 if config.mode == "min" else -1)
        self.best_score = torch.tensor(inf if config.mode == "min" else -inf)
        self.wait_count = 0
        self.stopping_reason = "NOT_STOPPED"  # the names are Lightning's

    def should_stop(self, current: Tensor) -> bool:
        threshold = self.config.stopping_threshold
        if self.config.check_finite and not current.isfinite():
            self.stopping_reason = "NON_FINITE_METRIC"
        elif threshold is not None and self.is_better(current, threshold):
            self.stopping_reason = "STOPPING_THRESHOLD"
        elif self.is_better(current + self.min_delta, self.best_score):
            self.best_score, self.wait_count = current, 0
        else:
            self.wait_count += 1
            if self.wait_count >= self.config.patience:
                self.stopping_reason = "PATIENCE_EXHAUSTED"
        return self.stopping_reason != "NOT_STOPPED"


def average_of(
    model: PlainAutoEncoder, config: CallbacksConfig
) -> AveragedModel | None:
    """Return a copy of the model that is to become the average of its weights."""
    match config.weight_averaging:  # [average]
        case "ema":  # not get_ema_multi_avg_fn, which rounds otherwise
            avg_fn = get_ema_avg_fn(config.decay)
            return AveragedModel(model, avg_fn=avg_fn, use_buffers=True)
        case "mean":
            avg_fn = get_mean_avg_fn(config.swa_epoch_start)
            return AveragedModel(model, avg_fn=avg_fn, use_buffers=True)
        case "swa":
            # [swa] Lightning takes the weights in as an epoch begins, torch's recipe
            # when it is over: so the last epoch's are never in this mean, and those
            # from before the first are. mean follows the recipe.
            return AveragedModel(model, torch.device("cpu"), get_swa_avg_fn())
    return None


def swa_schedule(optimizer: torch.optim.Optimizer, config: CallbacksConfig) -> SWALR:
    """Return the schedule with which swa replaces another when it begins."""
    # initial_lr and last_epoch as Lightning sets them; SWALR uses neither.
    optimizer.param_groups[0]["initial_lr"] = config.swa_lrs
    return SWALR(optimizer, config.swa_lrs, last_epoch=config.max_epochs)


def fit(
    model: ScheduledAutoEncoder,
    data: MNISTData,
    config: CallbacksConfig,
    run_dir: Path,
    early_stopping: EarlyStopping,
) -> tuple[ScheduledAutoEncoder, int, int, float]:
    """Train until the last epoch or an early stop, validate after every epoch.

    Returns the model that was validated, the steps and epochs, and the best val_loss.
    """
    # [download] [deterministic]
    train_loader, val_loader = prepare(model, data, config)
    images = next(iter(data.val_dataloader()))[0][:8]  # [picture]
    if config.use_cuda:
        images = images.cuda()  # [device]
    optimizer = model.configure_optimizers()
    limit = config.limit_train_batches  # [limit]
    num_batches = min(limit, len(train_loader)) if limit else len(train_loader)
    max_steps = config.max_epochs * num_batches
    scheduler = model.configure_scheduler(optimizer, config.max_epochs, max_steps)
    averaged = average_of(model, config)
    is_validated = config.weight_averaging in ("ema", "mean")  # [average]
    kept: Any = averaged.module if is_validated else model
    swa_start = config.swa_epoch_start - 1 if config.weight_averaging == "swa" else inf
    global_step, best_val_loss = 0, inf
    with (
        SummaryWriter(run_dir) as writer,  # [log]
        tqdm(total=num_batches) as bar,  # [progress]
    ):
        for epoch in range(config.max_epochs):  # [epochs]
            if epoch == swa_start:
                scheduler = swa_schedule(optimizer, config)  # [swa]
            if epoch >= swa_start:
                averaged.update_parameters(model)  # [swa] before the epoch's steps
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
                if config.weight_averaging == "ema":
                    averaged.update_parameters(model)  # [average]
                loss_sum = loss_sum + loss.detach() * len(batch[0])  # [mean]
                num_images += len(batch[0])
                bar.update()
                if (global_step + 1) % LOG_EVERY_N_STEPS == 0:
                    log_metric(writer, "train_loss", loss.item(), global_step, epoch)
                    lr = optimizer.param_groups[0]["lr"]  # [lr] of this step
                    writer.add_scalar("lr-Adam", lr, global_step)
                    bar.set_postfix(train_loss=loss.item(), refresh=False)
                if isinstance(scheduler, OneCycleLR):
                    scheduler.step()  # [interval] after every step
                global_step += 1
            if isinstance(scheduler, StepLR | CosineAnnealingLR | SWALR):
                scheduler.step()  # [interval] after every epoch, before validation
            if config.weight_averaging == "mean":
                averaged.update_parameters(model)  # [average]

            limit = config.limit_val_batches
            # No require_finite here: what nan means, early stopping says.
            val_loss = evaluate(kept, kept.validation_step, val_loader, limit)
            if (epoch + 1) % config.every_n_epochs == 0:  # [picture]
                with torch.no_grad():
                    grid = reconstruction_grid(kept, images)
                writer.add_image("reconstructions", grid, global_step)
            train_loss = (loss_sum.cpu() / num_images).item()
            log_metric(writer, "val_loss", val_loss, global_step - 1, epoch)
            log_metric(writer, "train_loss_epoch", train_loss, global_step - 1, epoch)
            bar.set_postfix(train_loss=train_loss, val_loss=val_loss)
            # [checkpoint] with the keys of Lightning's
            checkpoint = make_checkpoint(model, optimizer, data, epoch, global_step)
            checkpoint["state_dict"] = kept.state_dict()
            checkpoint["lr_schedulers"] = [scheduler.state_dict()] if scheduler else []
            if is_validated:  # [average] a resumed run needs both
                checkpoint["current_model_state"] = model.state_dict()
                checkpoint["averaging_state"] = {"n_averaged": averaged.n_averaged}
            if epoch == 0 or val_loss < best_val_loss:  # the first is best, nan or not
                best_val_loss = inf if isnan(val_loss) else val_loss
                write_checkpoint(run_dir / "checkpoints" / "best.ckpt", checkpoint)
            write_checkpoint(run_dir / "checkpoints" / "last.ckpt", checkpoint)
            if isinstance(scheduler, ReduceLROnPlateau):
                scheduler.step(val_loss)  # [interval] after validation, which it needs
            if early_stopping.should_stop(torch.tensor(val_loss)):
                break  # [early_stop]
    if config.weight_averaging == "swa" and epoch + 1 == config.max_epochs:
        # [swa] Lightning neither validates this average nor keeps it as best or last,
        # and an early stop loses it. Prefer ema or mean, which it does validate.
        checkpoint["state_dict"] = averaged.module.state_dict()
        checkpoint["epoch"] = epoch + 1  # it is over now
        write_checkpoint(run_dir / "checkpoints" / "swa.ckpt", checkpoint)
    return kept, global_step, epoch + 1, best_val_loss


# 3. How to evaluate: the mean loss over a loader, weighted by batch size.
def test(
    model: PlainAutoEncoder,
    data: MNISTData,
    config: CallbacksConfig,
    run_dir: Path,
    global_step: int,
    epochs: int,
) -> float:
    """Return the loss of the model as it is on the test images."""
    data.setup("test")
    limit = config.limit_test_batches
    test_loss = evaluate(model, model.test_step, data.test_dataloader(), limit)
    require_finite("test loss", test_loss, global_step)  # [finite]
    with SummaryWriter(run_dir) as writer:
        log_metric(writer, "test_loss", test_loss, global_step, epochs)
    return test_loss


# 4. Do it.
def main(config: CallbacksConfig, run_dir: Path) -> None:
    """Train, then test the weights that did best in validation, or their average."""
    torch.manual_seed(config.seed)  # [seed] right before the weights are drawn
    model = ScheduledAutoEncoder(
        config.hidden_dim, config.latent_dim, config.learning_rate, config.lr_scheduler
    )
    data = MNISTData(config)
    early_stopping = EarlyStopping(config)
    model, global_step, epochs, best_val_loss = fit(
        model, data, config, run_dir, early_stopping
    )
    kept = run_dir / "checkpoints" / "best.ckpt"
    if config.weight_averaging == "swa" and epochs >= config.max_epochs:
        kept = run_dir / "checkpoints" / "swa.ckpt"
    load_weights(model, read_checkpoint(kept), kept)
    test_loss = test(model, data, config, run_dir, global_step, epochs)
    reason = early_stopping.stopping_reason  # [early_stop]
    report_epochs(epochs, config.max_epochs, reason)
    report(run_dir, data.dataset_name, best_val_loss, test_loss)


if __name__ == "__main__":
    run("plain_pytorch", "callbacks", main)
