"""What can be looked at of an autoencoder, beside curves: for TensorBoard, of any loop.

None of these draws a random number, which would move a training, nor changes a mode.
"""

import warnings

import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from shared.data import ImageDataset
from shared.model import AutoEncoder


def write_graph(writer: SummaryWriter, model: AutoEncoder) -> None:
    """Write the graph of the operations in `forward`, that is of the encoder."""
    images = torch.zeros(1, 1, 28, 28, device=next(model.parameters()).device)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of torch.jit, which it uses
        writer.add_graph(model, images)


def write_histograms(writer: SummaryWriter, model: AutoEncoder, step: int) -> None:
    """Write how all weights are distributed, and their gradients of the last batch."""
    for name, parameter in model.named_parameters():
        writer.add_histogram(f"weights/{name}", parameter, step)
        writer.add_histogram(f"gradients/{name}", parameter.grad, step)


@torch.no_grad()
def write_images(
    writer: SummaryWriter, model: AutoEncoder, data: ImageDataset, step: int
) -> None:
    """Write a grid of the first eight images, above their reconstructions."""
    images, _ = first_images(model, data, 8)
    reconstructions = model.decoder(model(images)).view_as(images)
    grid = torch.cat([images, reconstructions])  # TensorBoard puts eight in a row
    writer.add_images("reconstructions", (grid.clamp(-1, 1) + 1) / 2, step)


@torch.no_grad()
def write_embeddings(
    writer: SummaryWriter, model: AutoEncoder, data: ImageDataset, step: int
) -> None:
    """Write the embeddings of the first 500 images: the projector's points."""
    images, labels = first_images(model, data, 500)
    writer.add_embedding(
        model(images),
        metadata=labels.tolist(),
        label_img=(images + 1) / 2,  # the projector draws every point as its digit
        global_step=step,
        tag="embeddings",
    )


def first_images(
    model: AutoEncoder, data: ImageDataset, count: int
) -> tuple[Tensor, Tensor]:
    """Return images, where the model is, and labels."""
    images, labels = data.__getitems__(range(count))
    return images.to(next(model.parameters()).device), labels
