"""Image files of the user's own, made into what the model has learned from."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import DataLoader

from shared.data import Batch, ImageDataset, identity_collate
from shared.datasets.catalog import Images

UNKNOWN = -1
"""The label of an image that has none."""


def read_images(paths: Sequence[Path], dataset: str) -> DataLoader[Batch]:
    """Return a loader of one batch for each image, all labelled UNKNOWN.

    The images are like those of the data set: 32 x 32 pixels in colors for cifar10,
    otherwise 28 x 28 pixels of gray.

    Raises:
        OSError: a file is missing, or no image that can be read.
    """
    convert = to_photo if dataset == "cifar10" else to_digit
    pixels = torch.stack([convert(Image.open(path)) for path in paths])
    images = Images(pixels, torch.full([len(paths)], UNKNOWN))
    return DataLoader(ImageDataset(images), collate_fn=identity_collate)


def to_digit(image: Image.Image) -> Tensor:
    """Return an image as (28, 28) of uint8, bright on black, as MNIST has its digits.

    A margin around the digit stays, and a bright background becomes dark.
    """
    gray = ImageOps.autocontrast(ImageOps.exif_transpose(image).convert("L"))
    if np.median(np.asarray(gray)) > 127:  # dark ink on bright paper
        gray = ImageOps.invert(gray)
    return torch.tensor(np.asarray(ImageOps.pad(gray, (28, 28))))


def to_photo(image: Image.Image) -> Tensor:
    """Return the middle of an image as (3, 32, 32) of uint8."""
    colors = ImageOps.exif_transpose(image).convert("RGB")
    return torch.tensor(np.asarray(ImageOps.fit(colors, (32, 32)))).permute(2, 0, 1)
