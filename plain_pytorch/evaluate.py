"""Test a trained autoencoder, predict and look, with the loops written by hand.

    python -m plain_pytorch.evaluate --ckpt-path best.ckpt

`make diff LESSON=evaluate` shows this file beside lightning/evaluate.py, which does the
same. Either half takes a checkpoint of either half.
"""

import os
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from plain_pytorch.train import PlainAutoEncoder, evaluate
from shared.checkpoints.trained import newest_best, read_model
from shared.checkpoints.whole_files import load_weights
from shared.data import Batch, MNISTData
from shared.options.evaluate import EvaluateConfig
from shared.pictures.picture_file import read_image
from shared.pictures.predictions import (
    Predictions,
    join,
    write_own_image,
    write_predictions,
)
from shared.runtime.command import report_evaluation, run
from shared.runtime.errors import require_finite


# 1. What to compute: the embedding and the reconstruction of every image of a batch.
class PlainPredictor(PlainAutoEncoder):
    """The trained model, and what to do with a batch of a prediction."""

    def predict_step(self, batch: Batch, batch_idx: int) -> Predictions:
        images, labels = batch
        embeddings = self(images)
        reconstructions = self.decoder(embeddings).view_as(images)
        return Predictions(images, labels, embeddings, reconstructions)


# 2. How to load: a model of the size that the checkpoint says, with its weights.
def load(checkpoint: dict[str, Any], path: Path) -> PlainPredictor:
    """Return the model that a checkpoint holds."""
    model = PlainPredictor(**checkpoint["hyper_parameters"])  # [hparams]
    load_weights(model, checkpoint, path)  # [weights]
    return model


# 3. How to evaluate: the test loss, then a prediction for every test image, in order.
def test(model: PlainPredictor, data: MNISTData, config: EvaluateConfig) -> float:
    """Return the mean loss on the test images."""
    data.prepare_data()  # [download]
    data.setup("test")
    if config.use_cuda:
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # [deterministic]
        torch.use_deterministic_algorithms(True)
        model.cuda()  # [device]
    limit = config.limit_test_batches  # [limit]
    return evaluate(model, model.test_step, data.test_dataloader(), limit)


@torch.inference_mode()  # [no_grad]
def predict(
    model: PlainPredictor, loader: DataLoader[Batch], limit: int | None
) -> Predictions:
    """Return what the model makes of the first `limit` batches, or of all."""
    model.eval()  # [mode]
    on_gpu = next(model.parameters()).is_cuda
    num_batches = min(limit, len(loader)) if limit else len(loader)  # [limit]
    batches = tqdm(islice(loader, num_batches), total=num_batches)  # [progress]
    predictions = []
    for batch_idx, batch in enumerate(batches):
        if on_gpu:
            batch = [tensor.cuda() for tensor in batch]  # [device]
        prediction = model.predict_step(batch, batch_idx)
        # Back to where there is room for all [device].
        predictions.append(Predictions(*(tensor.cpu() for tensor in prediction)))
    return join(predictions)


# 4. Do it.
def main(config: EvaluateConfig, run_dir: Path) -> None:
    """Test a checkpoint, and write what its model makes of the test images."""
    path = config.ckpt_path or newest_best(config.output_dir)
    checkpoint = read_model(path)  # [verify]
    image = read_image(config.image) if config.image else None
    model = load(checkpoint, path)
    data = MNISTData(config.with_dataset_of(checkpoint))
    test_loss = test(model, data, config)
    step = checkpoint["global_step"]
    require_finite("test loss", test_loss, step)  # [finite]
    loader = data.predict_dataloader()
    predictions = predict(model, loader, config.limit_predict_batches)
    own = predict(model, image, None) if image else None
    trained_on = checkpoint.get("dataset", data.dataset_name)
    with SummaryWriter(run_dir) as writer:
        writer.add_scalar("test_loss", test_loss, step)  # [log]
        write_predictions(predictions, run_dir, writer, step, data.dataset_name)
        if own:
            write_own_image(own, run_dir, writer, step, trained_on)
    report_evaluation(run_dir, path, trained_on, data.dataset_name, test_loss)


if __name__ == "__main__":
    run("plain_pytorch", "evaluate", main)
