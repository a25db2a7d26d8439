"""What a model makes of images: joined from batches, written, and shown as pictures."""

import io
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor, cat
from torch.utils.tensorboard import SummaryWriter

from shared.checkpoints.whole_files import write_whole
from shared.pictures.drawing import (
    draw_embeddings,
    draw_pair,
    draw_reconstructions,
    to_pixels,
    to_png,
)


class Predictions(NamedTuple):
    """What a model makes of images, of one batch or of many.

    Attributes:
        images: (count, 1, 28, 28) of float32 in -1..1.
        labels: (count,) of int64.
        embeddings: (count, latent_dim) of float32.
        reconstructions: (count, 1, 28, 28) of float32.
    """

    images: Tensor
    labels: Tensor
    embeddings: Tensor
    reconstructions: Tensor


def join(batches: Any) -> Predictions:
    """Return the predictions of all batches, Predictions each, as one, in their order.

    Any, because Trainer.predict does not say what it has gathered.
    """
    return Predictions(*map(cat, zip(*batches, strict=True)))


def write_predictions(
    predictions: Predictions, run_dir: Path, writer: SummaryWriter, step: int, of: str
) -> None:
    """Write embeddings, pictures of them and of the reconstructions.

    Args:
        predictions: of test images.
        run_dir: gets embeddings.npz (`embeddings` and `labels`) and two PNG files.
        writer: gets the pictures too, and the embeddings for TensorBoard's projector.
        step: how many steps the model was trained.
        of: the data set, for the titles.
    """
    source = f"{of}, checkpoint of step {step}"
    images, labels, embeddings, reconstructions = predictions
    arrays = io.BytesIO()
    np.savez(arrays, embeddings=embeddings.numpy(), labels=labels.numpy())
    write_whole(run_dir / "embeddings.npz", arrays.getbuffer())
    grid = draw_reconstructions(
        images, labels, reconstructions, f"Reconstructions: {source}"
    )
    write_picture("reconstructions", grid, run_dir, writer, step)
    title = f"Embeddings (latent_dim {embeddings.shape[1]}): {source}"
    scatter = draw_embeddings(embeddings, labels, title)
    write_picture("embeddings", scatter, run_dir, writer, step)
    writer.add_embedding(
        embeddings,
        metadata=labels.tolist(),
        label_img=(images + 1) / 2,  # the projector draws every point as its digit
        global_step=step,
        tag="embeddings",
    )


def write_own_image(
    prediction: Predictions, run_dir: Path, writer: SummaryWriter, step: int, of: str
) -> None:
    """Print the embedding of an image of the user's, and show its reconstruction.

    Args:
        prediction: of that one image.
        run_dir: gets image.png.
        writer: gets the picture too.
        step: how many steps the model was trained.
        of: the data set that it was trained on, for the title.
    """
    numbers = prediction.embeddings[0].tolist()
    print("image's embedding    ", *(f"{number:.6g}" for number in numbers))
    title = f"Your image: {of}, checkpoint of step {step}"
    figure = draw_pair(prediction.images[0], prediction.reconstructions[0], title)
    write_picture("image", figure, run_dir, writer, step)


def write_picture(
    name: str, figure: Figure, run_dir: Path, writer: SummaryWriter, step: int
) -> None:
    """Write a figure as a PNG file of this name, and to TensorBoard."""
    pixels = to_pixels(figure)
    write_whole(run_dir / f"{name}.png", to_png(pixels))
    writer.add_image(name, pixels, step, dataformats="HWC")
