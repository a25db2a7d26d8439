"""Call every hook of a LightningModule and of its data by hand, as the Trainer does.

    python -m plain_pytorch.under_the_hood

`make diff LESSON=under_the_hood` shows this file beside lightning/under_the_hood.py,
where a Trainer calls the same hooks of the same objects. No other file of this folder
imports Lightning.
"""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from math import inf
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from pytorch_lightning.plugins import Precision
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter

from lightning.train import LitMNIST
from lightning.under_the_hood import HookRecorder, LitEncoder
from plain_pytorch.train import log_metric
from shared.checkpoints.lightning_format import LIGHTNING_VERSION
from shared.checkpoints.whole_files import (
    load_weights,
    read_checkpoint,
    write_checkpoint,
)
from shared.data import Batch
from shared.options.train import LOG_EVERY_N_STEPS
from shared.options.under_the_hood import UnderTheHoodConfig
from shared.runtime.command import report, run


# 1. What to learn: the model and the data of `train`, and every hook they have.
def attach(model: LitEncoder, data: LitMNIST) -> None:
    """Give the model all that its hooks ask of `self.trainer`; they need one."""
    trainer: Any = SimpleNamespace(
        model=model,  # asked for by on_validation_model_eval and those like it
        datamodule=data,  # by on_save_checkpoint
        global_step=0,  # by the steps, and below
        current_epoch=0,
        gradient_clip_val=None,  # by configure_gradient_clipping, as the next two
        gradient_clip_algorithm=None,
        precision_plugin=Precision(),
        barebones=True,  # [log] by self.log, which then does nothing but warn
    )
    model.trainer = trainer
    warnings.filterwarnings("ignore", r"You are trying to `self.log\(\)`")


# 2. How to train: through every hook, in the order of the Trainer.
def fit(
    model: LitEncoder, data: LitMNIST, config: UnderTheHoodConfig, run_dir: Path
) -> float:
    """Train, validate after every epoch; return the best val_loss."""
    trainer: Any = model.trainer
    best_val_loss = inf
    with stage("fit", model, data, config), SummaryWriter(run_dir) as writer:
        optimizer = model.configure_optimizers()
        model.on_fit_start()
        val_loader, limit = data.val_dataloader(), config.limit_val_batches
        with torch.random.fork_rng():  # [sanity] draws no number that training misses
            evaluate("validation", model, data, val_loader, min(limit or 2, 2))
        train_loader = data.train_dataloader()
        model.on_train_start()
        for epoch in range(config.max_epochs):  # [epochs]
            trainer.current_epoch = epoch
            train_loader.sampler.set_epoch(epoch)  # [shuffle]
            model.on_train_epoch_start()
            losses = []
            batches = islice(train_loader, config.limit_train_batches)  # [limit]
            for batch_idx, batch in enumerate(batches):
                batch = transfer(model, data, batch)
                model.on_train_batch_start(batch, batch_idx)
                loss = optimize(model, optimizer, batch, batch_idx)
                trainer.global_step += 1
                # With a scheduler, lr_scheduler_step would come here.
                model.on_train_batch_end({"loss": loss}, batch, batch_idx)
                losses.append((loss, len(batch[0])))
                step = trainer.global_step - 1
                if trainer.global_step % LOG_EVERY_N_STEPS == 0:  # [log]
                    log_metric(writer, "train_loss", loss.item(), step, epoch)
            model.on_validation_model_zero_grad()
            val_loss = mean(evaluate("validation", model, data, val_loader, limit))
            model.on_train_epoch_end()
            log_metric(writer, "val_loss", val_loss, step, epoch)
            log_metric(writer, "train_loss_epoch", mean(losses), step, epoch)
            if val_loss < best_val_loss:
                best_val_loss = val_loss
                save(run_dir / "checkpoints" / "best.ckpt", model, data, optimizer)
            save(run_dir / "checkpoints" / "last.ckpt", model, data, optimizer)
        model.on_train_end()
        model.on_fit_end()
    return best_val_loss


@contextmanager
def stage(
    fn: str, model: LitEncoder, data: LitMNIST, config: UnderTheHoodConfig
) -> Iterator[None]:
    """Do what every stage begins and ends with: `fit`, `test` and `predict`."""
    model.configure_callbacks()
    data.prepare_data()
    data.setup(fn)
    model.setup(fn)
    model.configure_model()
    if config.use_cuda:
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # [deterministic]
        torch.use_deterministic_algorithms(True)
        model.cuda()  # [device]
    yield
    data.teardown(fn)
    model.teardown(fn)


def optimize(
    model: LitEncoder, optimizer: Optimizer, batch: Batch, batch_idx: int
) -> Tensor:
    """Take one step down the gradient of the loss, and return that loss."""
    losses: list[Tensor] = []

    def closure() -> Tensor:
        loss = model.training_step(batch, batch_idx)
        model.on_before_zero_grad(optimizer)
        model.optimizer_zero_grad(epoch, batch_idx, optimizer)  # [zero_grad]
        model.on_before_backward(loss)
        model.backward(loss)  # [backward]
        model.on_after_backward()
        model.on_before_optimizer_step(optimizer)
        model.configure_gradient_clipping(optimizer, None, None)
        losses.append(loss.detach())
        return loss

    epoch = model.current_epoch
    # The optimizer calls the closure first: all of it happens inside of this hook.
    model.optimizer_step(epoch, batch_idx, optimizer, closure)  # [step]
    return losses[0]


def transfer(model: LitEncoder, data: LitMNIST, batch: Batch) -> Batch:
    """Return a batch on the device of the model."""
    batch = data.on_before_batch_transfer(batch, 0)
    batch = data.transfer_batch_to_device(batch, model.device, 0)  # [device]
    return data.on_after_batch_transfer(batch, 0)


def save(path: Path, model: LitEncoder, data: LitMNIST, optimizer: Optimizer) -> None:
    """Write a checkpoint with the keys of Lightning's."""
    checkpoint = {  # [checkpoint]
        "pytorch-lightning_version": LIGHTNING_VERSION,
        "epoch": model.current_epoch,
        "global_step": model.global_step,
        "state_dict": model.state_dict(),
        "optimizer_states": [optimizer.state_dict()],
        "hyper_parameters": dict(model.hparams),
    }
    data.state_dict()  # of this data there is nothing to save
    model.on_save_checkpoint(checkpoint)
    write_checkpoint(path, checkpoint)


# 3. How to evaluate: the hooks of validation, of the test, and of predictions.
@torch.no_grad()  # [no_grad]
def evaluate(
    kind: str,
    model: LitEncoder,
    data: LitMNIST,
    loader: DataLoader[Batch],
    limit: int | None,
) -> list[tuple[Tensor, int]]:
    """Return the output and the size of every batch of a `kind`, as hooks call it."""

    def on(moment: str, *arguments: Any) -> None:
        getattr(model, f"on_{kind}_{moment}")(*arguments)

    outputs = []
    on("model_eval")  # [mode]
    on("start")
    on("epoch_start")
    for batch_idx, batch in enumerate(islice(loader, limit)):  # [limit]
        batch = transfer(model, data, batch)
        on("batch_start", batch, batch_idx)
        output = getattr(model, f"{kind}_step")(batch, batch_idx)
        on("batch_end", output, batch, batch_idx)
        outputs.append((output, len(batch[0])))
    on("epoch_end")
    on("end")
    if kind == "predict":
        model.train()  # there is no hook for this one
    else:
        on("model_train")  # [mode]
    return outputs


def mean(losses: list[tuple[Tensor, int]]) -> float:
    """Return the mean of the losses of batches, weighted by their sizes."""
    loss_sum, num_images = torch.zeros(()), 0
    for loss, size in losses:
        loss_sum = loss_sum + loss * size  # [mean]
        num_images += size
    return (loss_sum.cpu() / num_images).item()


def test(
    model: LitEncoder, data: LitMNIST, config: UnderTheHoodConfig, run_dir: Path
) -> float:
    """Return the loss of the best weights on the test images."""
    best = run_dir / "checkpoints" / "best.ckpt"
    with stage("test", model, data, config), SummaryWriter(run_dir) as writer:
        checkpoint = read_checkpoint(best)
        model.on_load_checkpoint(checkpoint)
        load_weights(model, checkpoint, best)
        loader, limit = data.test_dataloader(), config.limit_test_batches
        test_loss = mean(evaluate("test", model, data, loader, limit))
        step = model.global_step
        log_metric(writer, "test_loss", test_loss, step, config.max_epochs)
    return test_loss


def predict(
    model: LitEncoder, data: LitMNIST, config: UnderTheHoodConfig
) -> list[Tensor]:
    """Return the embeddings of the test images, batch by batch."""
    with stage("predict", model, data, config):
        loader, limit = data.predict_dataloader(), config.limit_predict_batches
        outputs = evaluate("predict", model, data, loader, limit)
    return [embeddings.cpu() for embeddings, _ in outputs]


# A method of the model that no line above calls is called by no Trainer either, be it
# misspelt or a hook of old: the other half flags some [old_hooks].


# 4. Do it.
def main(config: UnderTheHoodConfig, run_dir: Path) -> None:
    """Train, test the best weights and predict; print every hook that is called."""
    torch.manual_seed(config.seed)  # [seed]
    model = LitEncoder(config.hidden_dim, config.latent_dim, config.learning_rate)
    data = LitMNIST(config)
    recorder = HookRecorder(model, data)  # [hooks]
    attach(model, data)
    best_val_loss = fit(model, data, config, run_dir)
    test_loss = test(model, data, config, run_dir)
    embeddings = predict(model, data, config)
    write_checkpoint(run_dir / "embeddings.pt", {"embeddings": embeddings})
    (run_dir / "hooks.txt").write_text("\n".join([*recorder.calls, ""]))
    print(f"\nhooks                 {run_dir / 'hooks.txt'}")
    report(run_dir, data.dataset_name, best_val_loss, test_loss)


if __name__ == "__main__":
    run("plain_pytorch", "under_the_hood", main)
