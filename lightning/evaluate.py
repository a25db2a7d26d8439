"""No variant of train: test what was trained, predict and draw, with a Trainer.

python -m lightning.evaluate --image my_digit.jpg
"""

from pathlib import Path

import numpy as np
import pytorch_lightning as pl
from pytorch_lightning.callbacks import TQDMProgressBar
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor
from torchvision.utils import save_image

from shared.checkpoints.trained import newest_best, read_model
from shared.data import Batch, MNISTData
from shared.model import AutoEncoder
from shared.options.common import LOG_EVERY_N_STEPS
from shared.options.evaluate import Config
from shared.pictures.picture_file import read_image
from shared.pictures.pictures import draw_embeddings, draw_pairs, join
from shared.runtime.command import run


# 1. The model: its loss on a batch, and what it makes of one.
class Model(AutoEncoder, pl.LightningModule):
    """The shared model, and how it is used."""

    def test_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, _ = batch
        loss = self.reconstruction_loss(images)
        self.log("test_loss", loss)
        return loss

    def predict_step(self, batch: Batch, batch_idx: int) -> tuple[Tensor, ...]:
        images, labels = batch
        embeddings = self(images)
        reconstructions = self.decoder(embeddings).view_as(images)
        return images, labels, embeddings, reconstructions


class Data(MNISTData, pl.LightningDataModule):
    """The shared data, which already has the hooks of a LightningDataModule."""


# 2. The loops: test all images, then predict them.
# The Trainer calls eval and inference_mode, moves every batch to the device, and what
# predict_step returns back to the CPU; self.log takes the mean, weighted by batch size.


# 3. The run.
def main(config: Config, run_dir: Path) -> None:
    """Test a checkpoint, and save what its model makes of the test images."""
    # Checkpoint: of either half.
    ckpt_path = config.ckpt_path or newest_best(config.output_dir)
    read_model(ckpt_path)  # load_from_checkpoint loads damaged weights silently
    model = Model.load_from_checkpoint(ckpt_path, map_location="cpu", weights_only=True)
    # Data.
    data = Data(config)
    own_image = read_image(config.image) if config.image else None
    trainer = pl.Trainer(
        # Device.
        accelerator="cuda" if config.use_cuda else "cpu",
        devices=1,
        # Logging.
        logger=TensorBoardLogger(run_dir, name="", version="", default_hp_metric=False),
        enable_checkpointing=False,
        callbacks=[TQDMProgressBar(refresh_rate=LOG_EVERY_N_STEPS)],
    )
    # Testing.
    (results,) = trainer.test(model, datamodule=data, verbose=False)
    print(f"test loss of {ckpt_path}: {results['test_loss']:.6f}")
    # Predicting.
    predictions = trainer.predict(model, datamodule=data)
    images, labels, embeddings, reconstructions = join(predictions)
    np.savez(run_dir / "embeddings.npz", embeddings=embeddings, labels=labels)
    # Pictures.
    writer = trainer.logger.experiment
    scatter = draw_embeddings(embeddings, labels)
    scatter.savefig(run_dir / "embeddings.png")
    writer.add_figure("embeddings", scatter)
    grid = draw_pairs(images[:10], reconstructions[:10])
    save_image(grid, run_dir / "reconstructions.png")
    writer.add_image("reconstructions", grid)
    # Image: your own.
    if own_image:
        predictions = trainer.predict(model, own_image)
        image, _, embedding, reconstruction = join(predictions)
        print("embedding of your image:", embedding.tolist())
        grid = draw_pairs(image, reconstruction)
        save_image(grid, run_dir / "image.png")
        writer.add_image("image", grid)
    writer.close()


if __name__ == "__main__":
    run(main)
