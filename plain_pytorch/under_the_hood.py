"""Call every hook of a LightningModule and of its data by hand, as the Trainer does.

    python -m plain_pytorch.under_the_hood

`make diff LESSON=under_the_hood` shows this file beside lightning/under_the_hood.py,
where a Trainer calls the same hooks of the same objects. No other file of this folder
imports Lightning.
"""

import os
import warnings
from collections.abc import Callable, Iterator
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
from shared.checkpoint import (
    LIGHTNING_VERSION,
    load_weights,
    read_checkpoint,
    write_checkpoint,
)
from shared.command import report, run
from shared.config import LOG_EVERY_N_STEPS
from shared.data import Batch
from shared.options.under_the_hood import UnderTheHoodConfig


# 1. What to learn: the model and the data of `train`, and every hook they have.
def attach(model: LitEncoder, data: LitMNIST) -> Any:
    """Give the hooks all that they ask of `self.trainer`, and return it."""
    trainer = SimpleNamespace(
        datamodule=data,  # on_save_checkpoint asks for it
        global_step=0,  # the steps do, should a loss not be finite
        current_epoch=0,
        gradient_clip_val=None,  # configure_gradient_clipping asks for these three
        gradient_clip_algorithm=None,
        precision_plugin=Precision(),
        barebones=True,  # [log] self.log does nothing then, but warn
    )
    warnings.filterwarnings("ignore", r"You are trying to `self.log\(\)`")
    model.trainer = trainer
    return trainer


@contextmanager
def stage(model: LitEncoder, data: LitMNIST, fn: str) -> Iterator[None]:
    """Begin and end `fit`, `test` or `predict`: so `trainer.state.fn` is called."""
    model.configure_callbacks()
    data.prepare_data()
    data.setup(fn)
    model.setup(fn)
    model.configure_model()
    yield
    data.teardown(fn)
    model.teardown(fn)


# 2. How to train: through every hook, in the order of the Trainer.
def fit(
    model: LitEncoder, data: LitMNIST, config: UnderTheHoodConfig, run_dir: Path
) -> float:
    """Train, validate after every epoch; return the best val_loss."""
    trainer, best_val_loss = model.trainer, inf
    with stage(model, data, "fit"), SummaryWriter(run_dir) as writer:
        if config.use_cuda:
            os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # [deterministic]
            torch.use_deterministic_algorithms(True)
            model.cuda()  # [device]
        optimizer = model.configure_optimizers()
        model.on_fit_start()
        val_loader, limit = data.val_dataloader(), config.limit_val_batches
        with torch.random.fork_rng():  # [sanity] leaves no trace but the printed ones
            evaluate(model, data, "validation", val_loader, min(limit or 2, 2))
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
                # model.lr_scheduler_step(...) comes here, if there is a scheduler.
                model.on_train_batch_end({"loss": loss}, batch, batch_idx)
                losses.append((loss, len(batch[0])))
                if trainer.global_step % LOG_EVERY_N_STEPS == 0:  # [log]
                    step = trainer.global_step - 1
                    log_metric(writer, "train_loss", loss.item(), step, epoch)
            model.on_validation_model_zero_grad()
            val_loss = mean(evaluate(model, data, "validation", val_loader, limit))
            model.on_train_epoch_end()
            step = trainer.global_step - 1
            log_metric(writer, "val_loss", val_loss, step, epoch)
            log_metric(writer, "train_loss_epoch", mean(losses), step, epoch)
            if val_loss < best_val_loss:
                best_val_loss = val_loss
                save(model, data, optimizer, run_dir / "checkpoints" / "best.ckpt")
            save(model, data, optimizer, run_dir / "checkpoints" / "last.ckpt")
        model.on_train_end()
        model.cpu()  # [device]
        model.on_fit_end()
    return best_val_loss


def optimize(
    model: LitEncoder, optimizer: Optimizer, batch: Batch, batch_idx: int
) -> Tensor:
    """Take one step down the gradient of the loss, and return that loss."""
    losses = []

    def closure() -> Tensor:
        loss = model.training_step(batch, batch_idx)
        model.on_before_zero_grad(optimizer)
        model.optimizer_zero_grad(
            model.current_epoch, batch_idx, optimizer
        )  # [zero_grad]
        model.on_before_backward(loss)
        model.backward(loss)  # [backward]
        model.on_after_backward()
        model.on_before_optimizer_step(optimizer)
        model.configure_gradient_clipping(optimizer, None, None)
        losses.append(loss.detach())
        return loss

    # optimizer.step(closure) calls the closure, then takes the step.
    model.optimizer_step(model.current_epoch, batch_idx, optimizer, closure)  # [step]
    model.trainer.global_step += 1
    return losses[-1]


def transfer(model: LitEncoder, data: LitMNIST, batch: Batch) -> Batch:
    """Return a batch on the device of the model."""
    batch = data.on_before_batch_transfer(batch, 0)
    batch = data.transfer_batch_to_device(batch, model.device, 0)  # [device]
    return data.on_after_batch_transfer(batch, 0)


def save(model: LitEncoder, data: LitMNIST, optimizer: Optimizer, path: Path) -> None:
    """Write a checkpoint, with the keys of Lightning's. [checkpoint]"""
    checkpoint = {
        "pytorch-lightning_version": LIGHTNING_VERSION,
        "epoch": model.current_epoch,
        "global_step": model.global_step,
        "state_dict": model.state_dict(),
        "optimizer_states": [optimizer.state_dict()],
        "hyper_parameters": dict(model.hparams),
    }
    data.state_dict()  # empty: LitMNIST has nothing to save
    model.on_save_checkpoint(checkpoint)
    write_checkpoint(path, checkpoint)


# 3. How to evaluate: the hooks of validation, of the test, and of predictions.
@torch.no_grad()  # [no_grad]
def evaluate(
    model: LitEncoder,
    data: LitMNIST,
    kind: str,
    loader: DataLoader[Batch],
    limit: int | None,
) -> list[tuple[Tensor, int]]:
    """Return the output and the size of every batch.

    Args:
        kind: `validation`, `test` or `predict`, as in the names of the hooks.
    """

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
        model.train()  # there is no on_predict_model_train
    else:
        on("model_train")
    return outputs


def mean(losses: list[tuple[Tensor, int]]) -> float:
    """Return the mean of the losses of batches, weighted by size. [mean]"""
    loss_sum, num_images = torch.zeros(()), 0
    for loss, size in losses:
        loss_sum = loss_sum + loss * size
        num_images += size
    return (loss_sum.cpu() / num_images).item()


def test(
    model: LitEncoder, data: LitMNIST, config: UnderTheHoodConfig, run_dir: Path
) -> float:
    """Return the loss of the best weights on the test images."""
    best = run_dir / "checkpoints" / "best.ckpt"
    with stage(model, data, "test"), SummaryWriter(run_dir) as writer:
        checkpoint = read_checkpoint(best)
        model.on_load_checkpoint(checkpoint)
        load_weights(model, checkpoint, best)
        model.to("cuda" if config.use_cuda else "cpu")  # [device]
        loader, limit = data.test_dataloader(), config.limit_test_batches
        test_loss = mean(evaluate(model, data, "test", loader, limit))
        step = model.global_step
        log_metric(writer, "test_loss", test_loss, step, config.max_epochs)
        model.cpu()
    return test_loss


def predict(
    model: LitEncoder, data: LitMNIST, config: UnderTheHoodConfig
) -> list[Tensor]:
    """Return the embeddings of the test images, a tensor for every batch."""
    with stage(model, data, "predict"):
        model.to("cuda" if config.use_cuda else "cpu")  # [device]
        loader, limit = data.predict_dataloader(), config.limit_predict_batches
        outputs = evaluate(model, data, "predict", loader, limit)
        model.cpu()
    return [embeddings.cpu() for embeddings, _ in outputs]


# 4. Do it.
def main(config: UnderTheHoodConfig, run_dir: Path) -> None:
    """Train, test the best weights and predict; print every hook that is called."""
    torch.manual_seed(config.seed)  # [seed]
    model = LitEncoder(config.hidden_dim, config.latent_dim, config.learning_rate)
    data = LitMNIST(config)
    recorder = HookRecorder(model, data)
    attach(model, data)
    best_val_loss = fit(model, data, config, run_dir)
    test_loss = test(model, data, config, run_dir)
    embeddings = predict(model, data, config)
    (run_dir / "hooks.txt").write_text("\n".join([*recorder.calls, ""]))
    print(f"first embedding       {embeddings[0][0].tolist()}")
    report(run_dir, data.dataset_name, best_val_loss, test_loss)


if __name__ == "__main__":
    run("plain_pytorch", "under_the_hood", main)
