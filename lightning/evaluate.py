"""Test a trained autoencoder, predict and look, with a LightningModule and a Trainer.

    python -m lightning.evaluate --ckpt-path best.ckpt

`make diff LESSON=evaluate` shows this file beside plain_pytorch/evaluate.py, which does
the same. Either half takes a checkpoint of either half.
"""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import TQDMProgressBar
from pytorch_lightning.loggers import TensorBoardLogger

from lightning.train import LitAutoEncoder, LitMNIST
from shared.checkpoints.trained import newest_best, read_model
from shared.data import Batch
from shared.options.evaluate import EvaluateConfig
from shared.options.train import LOG_EVERY_N_STEPS
from shared.pictures.picture_file import read_image
from shared.pictures.predictions import (
    Predictions,
    join,
    write_own_image,
    write_predictions,
)
from shared.runtime.command import report_evaluation, run


# 1. What to compute: the embedding and the reconstruction of every image of a batch.
class LitPredictor(LitAutoEncoder):
    """The trained model, and what to do with a batch of a prediction."""

    def predict_step(self, batch: Batch, batch_idx: int) -> Predictions:
        images, labels = batch
        embeddings = self(images)
        reconstructions = self.decoder(embeddings).view_as(images)
        return Predictions(images, labels, embeddings, reconstructions)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.trained_steps = checkpoint["global_step"]

    def on_test_epoch_end(self) -> None:
        # [log] A Trainer that has trained nothing logs at step 0, unless it finds this.
        self.log("step", float(self.trained_steps))


# 2. How to load: a model of the size that the checkpoint says, with its weights.
# Nothing to write: load_from_checkpoint calls the class with the hyper-parameters that
# save_hyperparameters has stored [hparams], and gives it the weights [weights].


# 3. How to evaluate: the test loss, then a prediction for every test image, in order.
def make_trainer(config: EvaluateConfig, run_dir: Path) -> pl.Trainer:
    """Return a Trainer, which has the loops."""
    # Unasked, it calls prepare_data [download] and eval() [mode], computes without
    # gradients [no_grad], and moves what predict_step returns back [device].
    return pl.Trainer(
        accelerator="cuda" if config.use_cuda else "cpu",  # [device]
        devices=1,
        deterministic=config.use_cuda,  # [deterministic]
        limit_test_batches=config.limit_test_batches,  # [limit]
        limit_predict_batches=config.limit_predict_batches,
        logger=TensorBoardLogger(
            run_dir.parent, name="", version=run_dir.name, default_hp_metric=False
        ),
        enable_checkpointing=False,  # nothing is trained
        callbacks=[TQDMProgressBar(refresh_rate=LOG_EVERY_N_STEPS)],  # [progress]
    )


# 4. Do it.
def main(config: EvaluateConfig, run_dir: Path) -> None:
    """Test a checkpoint, and write what its model makes of the test images."""
    path = config.ckpt_path or newest_best(config.output_dir)
    checkpoint = read_model(path)  # [verify] load_from_checkpoint checks no byte
    image = read_image(config.image) if config.image else None
    model = LitPredictor.load_from_checkpoint(
        path, map_location="cpu", weights_only=True
    )
    data = LitMNIST(config.with_dataset_of(checkpoint))
    trainer = make_trainer(config, run_dir)
    trainer.test(model, datamodule=data, verbose=False)  # [finite] see test_step
    test_loss = trainer.callback_metrics["test_loss"].item()
    step = checkpoint["global_step"]
    predictions = join(trainer.predict(model, datamodule=data))
    own = join(trainer.predict(model, image)) if image else None
    trained_on = checkpoint.get("dataset", data.dataset_name)
    with trainer.logger.experiment as writer:
        write_predictions(predictions, run_dir, writer, step, data.dataset_name)
        if own:
            write_own_image(own, run_dir, writer, step, trained_on)
    report_evaluation(run_dir, path, trained_on, data.dataset_name, test_loss)


if __name__ == "__main__":
    run("lightning", "evaluate", main)
