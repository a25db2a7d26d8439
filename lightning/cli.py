"""Set a run by options and a YAML file, with LightningCLI.

No variant of train.

python -m lightning.cli --config run.yaml --trainer.max_epochs 3
"""

from typing import Any, Literal

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint, TQDMProgressBar
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI
from torch import Tensor

from shared.data import Batch, MNISTData
from shared.model import AutoEncoder
from shared.options.common import LOG_EVERY_N_STEPS, RunConfig
from shared.runtime.command import set_up_torch, user_errors
from shared.runtime.signals import exit_on_signals


# 1. The model: its loss on a batch, and its optimizer.
class Model(AutoEncoder, pl.LightningModule):
    """The shared model, and how it learns; its arguments are the keys of `model`."""

    def __init__(
        self, hidden_dim: int = 64, latent_dim: int = 3, learning_rate: float = 1e-3
    ) -> None:
        super().__init__(hidden_dim, latent_dim)
        self.save_hyperparameters()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, _ = batch
        loss = self.reconstruction_loss(images)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, _ = batch
        loss = self.reconstruction_loss(images)
        self.log("val_loss", loss, prog_bar=True)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.hparams["learning_rate"])


class Data(MNISTData, pl.LightningDataModule):
    """The shared data; its arguments are the keys of `data`."""

    def __init__(
        self,
        dataset: Literal["auto", "mnist", "mnist-5k", "fashion-mnist"] = "auto",
        batch_size: int = 64,
        seed: int = 42,
    ) -> None:
        super().__init__(RunConfig(dataset=dataset, batch_size=batch_size, seed=seed))


# 2. The loop: for every epoch, for every batch, one step.
def trainer_defaults() -> dict[str, Any]:
    """Return the Trainer's arguments: all but the callbacks can be changed by keys."""
    return {
        # Data: one process downloads it.
        # The Trainer calls prepare_data, setup and the dataloader methods.
        # Device.
        "accelerator": "auto",
        "devices": 1,
        # Optimizer.
        # The Trainer calls configure_optimizers.
        # Logging.
        "logger": {
            "class_path": "TensorBoardLogger",
            # save_dir is the key output_dir, see CLI below.
            "init_args": {"name": "lightning", "default_hp_metric": False},
        },
        "log_every_n_steps": LOG_EVERY_N_STEPS,
        # Epochs.
        "max_epochs": 3,
        # Training.
        # The Trainer calls train and set_epoch; for every batch, it moves the batch to
        # the device and calls training_step, zero_grad, backward and step.
        # Validation: the mean loss, weighted by batch size.
        # The Trainer calls eval, no_grad and validation_step; self.log takes the mean.
        # Checkpoints: the best and the last.
        "callbacks": [
            ModelCheckpoint(filename="best", monitor="val_loss"),
            # save_last=True would save the last epoch only if it is the best as well.
            ModelCheckpoint(filename="last"),
            TQDMProgressBar(refresh_rate=LOG_EVERY_N_STEPS),
        ],
    }


# 3. The run.
class CLI(LightningCLI):
    """LightningCLI, with one seed for the model and the data, and --output_dir."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument("--output_dir", default="output/cli")
        parser.link_arguments("output_dir", "trainer.logger.init_args.save_dir")
        parser.link_arguments("seed_everything", "data.seed")


def main() -> None:
    """Train a new model; the CLI stores the configuration beside it."""
    set_up_torch(RunConfig())
    cli = CLI(
        Model,
        Data,
        seed_everything_default=42,
        trainer_defaults=trainer_defaults(),
        # Otherwise a checkpoint's hyper_parameters get an entry of LightningCLI's own.
        load_from_checkpoint_support=False,
        run=False,  # no subcommands, such as fit
    )
    cli.trainer.fit(cli.model, datamodule=cli.datamodule)
    print(f"The run is in {cli.trainer.log_dir}")


if __name__ == "__main__":
    exit_on_signals()
    with user_errors():
        main()
