"""An image file of the user's own, made into what the model knows: a digit of MNIST."""

import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps
from torch.utils.data import DataLoader

from shared.data import Batch, ImageDataset, identity_collate
from shared.datasets import Images
from shared.errors import UserError

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")
"""Formats of pixels: of the others that Pillow opens, one would run a program."""

UNKNOWN = -1
"""The label of an image that has none."""


def read_image(path: Path) -> DataLoader[Batch]:
    """Return a loader of one batch of one image, labelled UNKNOWN.

    The image is as MNIST has them: 28 x 28 pixels of gray, bright on black, from 0 to
    255, before it is normalized like the others. A bright background is inverted, and
    the longer side fills the 28 pixels: a margin around the digit is not cut off.

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
                raise UserError(f"{path} is {reason}: name an image file with --image")
            with Image.open(path, formats=FORMATS) as image:
                gray = to_gray(image)
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
    pixels = torch.from_numpy(to_digit(gray))
    images = Images(pixels.unsqueeze(0), torch.tensor([UNKNOWN]))
    return DataLoader(ImageDataset(images), collate_fn=identity_collate)


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


def to_digit(gray: Image.Image) -> npt.NDArray[np.uint8]:
    """Return an image as (28, 28) of uint8: the darkest 0, the brightest 255.

    Raises:
        UserError: a pixel is not finite.
    """
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
