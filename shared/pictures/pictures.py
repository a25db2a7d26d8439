"""Pictures of what a model has learned."""

import torch
from torch import Tensor
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
    reconstructions = model.decoder(model(images)).reshape_as(images)
    rows = torch.cat([images, reconstructions])
    return make_grid(rows, nrow=len(images), normalize=True, value_range=(-1, 1))
