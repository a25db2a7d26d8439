"""Image files of the user's own, made into what the model knows, as digits of MNIST."""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps
from torch.utils.data import DataLoader

from shared.data import Batch, ImageDataset, identity_collate
from shared.datasets.catalog import Images
from shared.runtime.errors import UserError

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")
"""Formats of pixels: of the others that Pillow opens, one would run a program."""

Pixels = npt.NDArray[np.uint8]
"""An image's: (28, 28), or (3, 32, 32)."""

UNKNOWN = -1
"""The label of an image that has none."""


def read_image(path: Path) -> DataLoader[Batch]:
    """Return a loader of one batch of one image as MNIST has them, labelled UNKNOWN.

    Raises:
        UserError: the file is missing, or no image that can be read.
    """
    return read_images([path], "mnist")


def read_images(paths: Sequence[Path], dataset: str) -> DataLoader[Batch]:
    """Return a loader of one batch for each image, labelled UNKNOWN.

    The images are as those of the data set, before they are normalized like them:

    - cifar10: 32 x 32 pixels in colors, the middle of the image.
    - all others: 28 x 28 pixels of gray, bright on black, from 0 to 255. A bright
      background is inverted, and the longer side fills the 28 pixels: a margin around
      the digit is not cut off.

    Raises:
        UserError: a file is missing, or no image that can be read.
    """
    convert = to_photo if dataset == "cifar10" else to_digit
    pixels = torch.stack(
        [torch.from_numpy(read_pixels(path, convert)) for path in paths]
    )
    images = Images(pixels, torch.full([len(paths)], UNKNOWN))
    return DataLoader(ImageDataset(images), collate_fn=identity_collate)


def read_pixels(path: Path, convert: Callable[[Image.Image], Pixels]) -> Pixels:
    """Return what `convert` makes of an image file.

    Raises:
        UserError: the file is missing, or no image that can be read.
    """
    try:
        # A file of some KB can claim to be an image of many GB: Pillow warns of it.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            if not path.is_file():
                reason = "no file" if path.exists() else "missing"
                raise UserError(f"{path} is {reason}: name an image file")
            with Image.open(path, formats=FORMATS) as image:
                return convert(image)
    except UserError:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        limit = f"{Image.MAX_IMAGE_PIXELS or 0:,}"
        raise UserError(
            f"{path} has more than {limit} pixels: make it smaller"
        ) from error
    except PermissionError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except Exception as error:  # a damaged image can make a decoder raise anything
        raise UserError(
            f"{path} is no image that can be read, or a damaged one: take a whole"
            f" {', '.join(FORMATS)} file"
        ) from error


def to_photo(image: Image.Image) -> Pixels:
    """Return the middle of an image, upright, as (3, 32, 32) of uint8."""
    colors = ImageOps.exif_transpose(image).convert("RGB")
    square = ImageOps.fit(colors, (32, 32), Image.Resampling.BILINEAR)
    return np.asarray(square).transpose(2, 0, 1).copy()


def to_gray(image: Image.Image) -> Image.Image:
    """Return the brightness of an image, upright, in 32-bit floats.

    What is transparent becomes the opposite of what is not: a black digit on nothing
    is as good as a white one.
    """
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith(("I", "F")):  # 16 bits and more, which convert cuts off
        return Image.fromarray(np.asarray(image, dtype=np.float32))
    if not image.has_transparency_data:
        return image.convert("L").convert("F")
    luminance, alpha = image.convert("RGBA").convert("LA").split()
    opaque = np.asarray(alpha) > 0
    seen = np.asarray(luminance)[opaque]
    background = 255 if seen.size and seen.mean() < 128 else 0
    return Image.composite(
        luminance, Image.new("L", image.size, background), alpha
    ).convert("F")


def to_digit(image: Image.Image) -> Pixels:
    """Return an image as (28, 28) of uint8: the darkest 0, the brightest 255.

    Raises:
        UserError: a pixel is not finite.
    """
    gray = to_gray(image)
    scale = 28 / max(gray.size)
    width, height = (max(1, round(side * scale)) for side in gray.size)
    small = np.asarray(gray.resize((width, height), Image.Resampling.BILINEAR))
    if not np.isfinite(small).all():
        raise UserError("the image has pixels that are not finite: take another one")
    small = small - small.min()
    small *= 255 / max(small.max(), 1e-6)
    border = np.concatenate([small[0], small[-1], small[:, 0], small[:, -1]])
    if np.median(border) > 127.5:  # a dark digit on bright paper
        small = 255 - small
    top, left = (28 - height) // 2, (28 - width) // 2
    digit = np.zeros((28, 28), dtype=np.uint8)
    digit[top : top + height, left : left + width] = small.round()
    return digit
