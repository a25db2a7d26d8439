"""Call every hook of a LightningModule, by hand.

No variant of train.

python -m plain_pytorch.under_the_hood
"""

from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from pytorch_lightning.plugins import Precision
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.tensorboard import SummaryWriter

import lightning.under_the_hood
from lightning.under_the_hood import Data
from shared.checkpoints.lightning_format import LIGHTNING_VERSION
from shared.checkpoints.whole_files import write_checkpoint
from shared.data import Batch
from shared.options.common import LOG_EVERY_N_STEPS
from shared.options.under_the_hood import Config
from shared.runtime.command import run
from shared.runtime.hooks import record_hooks


# 1. The model: its loss on a batch, and its optimizer.
class Model(lightning.under_the_hood.Model):
    """The LightningModule of the other half, without a Trainer to report to."""

    def log(self, *_: Any, **__: Any) -> None:
        """Do nothing: the loop below has the losses already."""


# 2. The loop: for every epoch, for every batch, one step.
def fit(model: Model, data: Data, config: Config, run_dir: Path) -> None:
    """Train, and validate after every epoch."""
    # The hooks below read these attributes of a Trainer.
    trainer: Any = SimpleNamespace(
        model=model,
        gradient_clip_val=None,
        gradient_clip_algorithm=None,
        precision_plugin=Precision(),
    )
    model.trainer = trainer
    model.configure_callbacks()
    # Data: one process downloads it.
    data.prepare_data()
    data.setup("fit")
    model.setup("fit")
    # Device.
    if config.use_cuda:
        model.cuda()
    # Optimizer.
    optimizer = model.configure_optimizers()
    # Logging.
    writer = SummaryWriter(run_dir)
    model.on_fit_start()
    # Sanity check: two batches of validation, which change no random number.
    val_loader = data.val_dataloader()
    with torch.random.fork_rng():
        validate(model, islice(val_loader, 2))
    train_loader = data.train_dataloader()
    model.on_train_start()
    # Epochs.
    global_step, best_val_loss = 0, float("inf")
    for epoch in range(config.max_epochs):
        # Training.
        train_loader.sampler.set_epoch(epoch)
        model.on_train_epoch_start()
        for batch_idx, batch in enumerate(train_loader):
            batch = model.on_before_batch_transfer(batch, 0)
            batch = model.transfer_batch_to_device(batch, model.device, 0)
            batch = model.on_after_batch_transfer(batch, 0)
            model.on_train_batch_start(batch, batch_idx)
            loss = step(model, optimizer, epoch, batch, batch_idx)
            model.on_train_batch_end({"loss": loss}, batch, batch_idx)
            global_step += 1
            if global_step % LOG_EVERY_N_STEPS == 0:
                writer.add_scalar("train_loss", loss.item(), global_step - 1)
        # Validation: the mean loss, weighted by batch size.
        model.on_validation_model_zero_grad()
        val_loss = validate(model, val_loader)
        model.on_train_epoch_end()
        writer.add_scalar("val_loss", val_loss, global_step - 1)
        # Checkpoints: the best and the last.
        names = ["last.ckpt"]
        if val_loss < best_val_loss:
            best_val_loss = val_loss
            names.append("best.ckpt")
        for name in names:
            checkpoint = {
                "pytorch-lightning_version": LIGHTNING_VERSION,
                "epoch": epoch,
                "global_step": global_step,
                "state_dict": model.state_dict(),
                "optimizer_states": [optimizer.state_dict()],
                "hyper_parameters": dict(model.hparams),
            }
            data.state_dict()  # is empty: this data has nothing to save
            model.on_save_checkpoint(checkpoint)
            write_checkpoint(run_dir / "checkpoints" / name, checkpoint)
    model.on_train_end()
    model.on_fit_end()
    data.teardown("fit")
    model.teardown("fit")
    writer.close()


def step(
    model: Model, optimizer: Optimizer, epoch: int, batch: Batch, batch_idx: int
) -> Tensor:
    """Take one step of the optimizer, and return the loss before it."""
    loss = torch.zeros(())

    def closure() -> Tensor:
        nonlocal loss
        loss = model.training_step(batch, batch_idx)
        model.on_before_zero_grad(optimizer)
        model.optimizer_zero_grad(epoch, batch_idx, optimizer)
        model.on_before_backward(loss)
        model.backward(loss)
        model.on_after_backward()
        model.on_before_optimizer_step(optimizer)
        model.configure_gradient_clipping(optimizer, None, None)
        return loss

    # The optimizer calls the closure first, and then changes the weights.
    model.optimizer_step(epoch, batch_idx, optimizer, closure)
    return loss


@torch.no_grad()
def validate(model: Model, batches: Any) -> float:
    """Return the mean loss of the batches, weighted by batch size."""
    model.on_validation_model_eval()
    model.on_validation_start()
    model.on_validation_epoch_start()
    loss_sum, num_images = torch.zeros(()), 0
    for batch_idx, batch in enumerate(batches):
        batch = model.on_before_batch_transfer(batch, 0)
        batch = model.transfer_batch_to_device(batch, model.device, 0)
        batch = model.on_after_batch_transfer(batch, 0)
        model.on_validation_batch_start(batch, batch_idx)
        loss = model.validation_step(batch, batch_idx)
        model.on_validation_batch_end(loss, batch, batch_idx)
        loss_sum += loss.cpu() * len(batch[0])
        num_images += len(batch[0])
    model.on_validation_epoch_end()
    model.on_validation_end()
    model.train()  # a Trainer has a hook for this, but calls it only if overridden
    return (loss_sum / num_images).item()


# 3. The run.
def main(config: Config, run_dir: Path) -> None:
    """Train a new model."""
    torch.manual_seed(config.seed)
    model = Model(config.hidden_dim, config.latent_dim, config.learning_rate)
    data = Data(config)
    hooks = record_hooks(model=model, data=data)
    fit(model, data, config, run_dir)
    (run_dir / "hooks.txt").write_text("\n".join([*hooks, ""]))


if __name__ == "__main__":
    run(main)
