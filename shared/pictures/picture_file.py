"""An image file of the user's own, made into what the model has learned from."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch.utils.data import DataLoader

from shared.data import Batch, ImageDataset, identity_collate
from shared.datasets.catalog import Images

UNKNOWN = -1
"""The label of an image that has none."""


def read_image(path: Path) -> DataLoader[Batch]:
    """Return a loader of one batch of one image, labelled UNKNOWN.

    The image is as MNIST has its digits: 28 x 28 pixels of gray, bright on black. A
    margin around the digit stays, and a bright background becomes dark.

    Raises:
        OSError: the file is missing, or no image that can be read.
    """
    image = ImageOps.exif_transpose(Image.open(path))
    gray = ImageOps.autocontrast(image.convert("L"))
    if np.median(np.asarray(gray)) > 127:  # dark ink on bright paper
        gray = ImageOps.invert(gray)
    pixels = torch.tensor(np.asarray(ImageOps.pad(gray, (28, 28))))
    images = Images(pixels.unsqueeze(0), torch.tensor([UNKNOWN]))
    return DataLoader(ImageDataset(images), collate_fn=identity_collate)
