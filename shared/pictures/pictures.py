"""Pictures of what a model has learned."""

from typing import Any

import torch
from matplotlib import colormaps
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional as F
from torchvision.utils import make_grid

from shared.model import AutoEncoder


def reconstruction_grid(model: AutoEncoder, images: Tensor) -> Tensor:
    """Return a picture of images, and below each what the model makes of it.

    Args:
        model: in evaluation mode; call this under torch.no_grad().
        images: (count, 1, 28, 28), normalized to -1..1.

    Returns:
        (3, height, width), 0 is black and 1 white.
    """
    return draw_pairs(images, model.decoder(model(images)).reshape_as(images))


def draw_pairs(images: Tensor, reconstructions: Tensor) -> Tensor:
    """Return a picture of images in a row, and their reconstructions below.

    Args:
        images: (count, 1, 28, 28), normalized to -1..1.
        reconstructions: of the same shape; what is below -1 becomes black, and above 1
            white.

    Returns:
        (3, height, width), 0 is black and 1 white.
    """
    rows = torch.cat([images, reconstructions])
    return make_grid(rows, nrow=len(images), normalize=True, value_range=(-1, 1))


def join(batches: Any) -> tuple[Tensor, ...]:
    """Return the predictions of all batches, a tuple of tensors each, as one.

    The type is Any because Trainer.predict does not say what it returns.
    """
    return tuple(torch.cat(parts) for parts in zip(*batches, strict=True))


def draw_embeddings(embeddings: Tensor, labels: Tensor) -> Figure:
    """Return a scatter of embeddings, colored by label.

    More than two numbers are projected onto the plane in which they vary most: their
    two principal components.

    Args:
        embeddings: (count, latent_dim) of float32.
        labels: (count,) of int64, 0 to 9.
    """
    centered = embeddings - embeddings.mean(dim=0)
    _, _, directions = torch.linalg.svd(centered, full_matrices=False)
    points = centered @ directions[:2].T
    x, y = F.pad(points, (0, 2 - points.shape[1])).T  # a single number lies on a line
    figure = Figure(figsize=(10, 8))
    axes = figure.subplots()
    scatter = axes.scatter(x, y, s=8, c=labels, cmap=colormaps["tab10"], vmin=0, vmax=9)
    axes.legend(*scatter.legend_elements(), title="label")
    axes.set_xlabel("first principal component of the embedding")
    axes.set_ylabel("second")
    return figure
