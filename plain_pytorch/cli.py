"""Set a run by options and a YAML file, by hand.

No variant of train.

python -m plain_pytorch.cli --config run.yaml --trainer.max_epochs 3
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from shared.checkpoints.lightning_format import LIGHTNING_VERSION
from shared.checkpoints.whole_files import write_checkpoint
from shared.data import Batch, MNISTData
from shared.model import AutoEncoder
from shared.options.common import LOG_EVERY_N_STEPS
from shared.options.train import Config
from shared.runtime.command import set_up_torch, user_errors
from shared.runtime.errors import UsageError
from shared.runtime.run_dir import new_run_dir
from shared.runtime.signals import exit_on_signals


# 1. The model: its loss on a batch, and its optimizer.
class Model(AutoEncoder):
    """The shared model, and how it learns."""

    def __init__(self, hidden_dim: int, latent_dim: int, learning_rate: float) -> None:
        super().__init__(hidden_dim, latent_dim)
        self.hparams = {
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

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.hparams["learning_rate"])


# 2. The loop: for every epoch, for every batch, one step.
def fit(model: Model, data: MNISTData, config: Config, run_dir: Path) -> None:
    """Train, and validate after every epoch."""
    # Data: one process downloads it.
    if os.environ.get("LOCAL_RANK", "0") == "0":
        data.prepare_data()
    data.setup("fit")
    train_loader = data.train_dataloader()
    val_loader = data.val_dataloader()
    # Device.
    if config.use_cuda:
        model.cuda()
    # Optimizer.
    optimizer = model.configure_optimizers()
    # Logging.
    writer = SummaryWriter(run_dir)
    # Epochs.
    global_step, best_val_loss = 0, float("inf")
    for epoch in range(config.max_epochs):
        # Training.
        model.train()
        train_loader.sampler.set_epoch(epoch)
        for batch_idx, batch in enumerate(tqdm(train_loader, f"Epoch {epoch}")):
            if config.use_cuda:
                batch = [tensor.cuda() for tensor in batch]
            loss = model.training_step(batch, batch_idx)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            global_step += 1
            if global_step % LOG_EVERY_N_STEPS == 0:
                writer.add_scalar("train_loss", loss.item(), global_step - 1)
        # Validation: the mean loss, weighted by batch size.
        model.eval()
        loss_sum, num_images = torch.zeros(()), 0
        with torch.no_grad():
            for batch_idx, batch in enumerate(val_loader):
                if config.use_cuda:
                    batch = [tensor.cuda() for tensor in batch]
                loss = model.validation_step(batch, batch_idx)
                loss_sum += loss.cpu() * len(batch[0])
                num_images += len(batch[0])
        val_loss = (loss_sum / num_images).item()
        print(f"val_loss: {val_loss:.6f}")
        writer.add_scalar("val_loss", val_loss, global_step - 1)
        # Checkpoints: the best and the last.
        checkpoint = {
            "pytorch-lightning_version": LIGHTNING_VERSION,
            "epoch": epoch,
            "global_step": global_step,
            "state_dict": model.state_dict(),
            "optimizer_states": [optimizer.state_dict()],
            "hyper_parameters": model.hparams,
        }
        write_checkpoint(run_dir / "checkpoints" / "last.ckpt", checkpoint)
        if val_loss < best_val_loss:
            best_val_loss = val_loss
            write_checkpoint(run_dir / "checkpoints" / "best.ckpt", checkpoint)
    writer.close()


# 3. The run.
def read_options(path: str) -> list[str]:
    """Return the keys of a YAML file as options: `--model.hidden_dim=64`.

    Raises:
        UsageError: this is no YAML file, or there are no keys in it.
    """
    try:
        keys = yaml.safe_load(Path(path).read_text())
    except (yaml.YAMLError, ValueError) as error:
        raise UsageError(f"--config {path}: {error}") from error
    if not isinstance(keys, dict):
        raise UsageError(f"--config {path}: no keys in it, such as seed_everything: 42")
    options = []
    for key, value in keys.items():
        if isinstance(value, dict):
            options += [f"--{key}.{name}={value[name]}" for name in value]
        else:
            options.append(f"--{key}={value}")
    return options


def parse(options: list[str]) -> dict[str, Any]:
    """Return the value of every key, in the sections of a YAML file."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--config", help="YAML file of the keys below")
    parser.add_argument("--output_dir", default="output/cli")
    parser.add_argument("--seed_everything", type=int, default=42)
    devices = ["auto", "cpu", "cuda"]
    parser.add_argument("--trainer.accelerator", choices=devices, default="auto")
    parser.add_argument("--trainer.max_epochs", type=int, default=3)
    parser.add_argument("--model.hidden_dim", type=int, default=64)
    parser.add_argument("--model.latent_dim", type=int, default=3)
    parser.add_argument("--model.learning_rate", type=float, default=1e-3)
    datasets = ["auto", "mnist", "mnist-5k", "fashion-mnist"]
    parser.add_argument("--data.dataset", choices=datasets, default="auto")
    parser.add_argument("--data.batch_size", type=int, default=64)
    path = parser.parse_args(options).config
    if path:
        # Of two values the last one counts: that of the command line.
        options = [*read_options(path), *options]
    values = vars(parser.parse_args(options))
    del values["config"]
    keys: dict[str, Any] = {}
    for name, value in values.items():
        if "." in name:
            section, name = name.split(".")
            keys.setdefault(section, {})[name] = value
        else:
            keys[name] = value
    return keys


def main() -> None:
    """Train a new model, and store the configuration beside it."""
    keys = parse(sys.argv[1:])
    config = Config(
        seed=keys["seed_everything"], **keys["trainer"], **keys["model"], **keys["data"]
    )
    set_up_torch(config)
    run_dir = new_run_dir(Path(keys["output_dir"], "plain_pytorch"))
    (run_dir / "config.yaml").write_text(yaml.safe_dump(keys, sort_keys=False))
    torch.manual_seed(config.seed)
    model = Model(config.hidden_dim, config.latent_dim, config.learning_rate)
    data = MNISTData(config)
    fit(model, data, config, run_dir)
    print(f"The run is in {run_dir}")


if __name__ == "__main__":
    exit_on_signals()
    with user_errors():
        main()
