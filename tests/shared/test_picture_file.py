"""An image file becomes a digit as MNIST has them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image, ImageOps
from torch import Tensor

from shared.data import ImageDataset
from shared.datasets.catalog import Images, load_5k
from shared.pictures.picture_file import UNKNOWN, read_image

Pixels = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def digit() -> Pixels:
    """Return a real digit, (28, 28), whose darkest pixel is 0 and brightest 255."""
    pixels = load_5k().pixels
    return pixels[pixels.amax(dim=(1, 2)) == 255][0].numpy()


def read(path: Path) -> Tensor:
    """Return the one image of a file, (28, 28), after checking that there is one."""
    ((images, labels),) = read_image(path)
    assert images.shape == (1, 1, 28, 28)
    assert labels.tolist() == [UNKNOWN]
    return images[0, 0]


def normalized(digit: Pixels) -> Tensor:
    """Return a digit as the data set gives it to the model."""
    images = Images(torch.from_numpy(digit).unsqueeze(0), torch.tensor([0]))
    return ImageDataset(images).__getitems__([0])[0][0, 0]


WAYS: dict[str, Callable[[Pixels], Image.Image]] = {
    "gray.png": Image.fromarray,
    "gray.bmp": Image.fromarray,
    "gray.gif": Image.fromarray,
    "color.png": lambda digit: Image.fromarray(digit).convert("RGB"),
    "palette.png": lambda digit: Image.fromarray(digit).convert("P"),
    "black-on-white.png": lambda digit: Image.fromarray(255 - digit),
    "dim.png": lambda digit: Image.fromarray(digit // 255 * 40 + 10),
}


@pytest.mark.parametrize("name", WAYS)
def test_a_digit_of_mnist_comes_back(tmp_path: Path, digit: Pixels, name: str) -> None:
    WAYS[name](digit).save(tmp_path / name)
    expected = digit // 255 * 255 if name.startswith("dim") else digit
    assert torch.equal(read(tmp_path / name), normalized(expected))


def test_a_photo_lies_as_its_exif_says(tmp_path: Path, digit: Pixels) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # Orientation: to be turned by 90 degrees clockwise
    lying = Image.fromarray(np.rot90(digit).copy())
    lying.save(tmp_path / "photo.png", exif=exif)
    assert torch.equal(read(tmp_path / "photo.png"), normalized(digit))


@pytest.mark.parametrize("side", [56, 280, 1000])
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_large_picture_is_made_small(
    tmp_path: Path, digit: Pixels, side: int, suffix: str
) -> None:
    large = Image.fromarray(digit).resize((side, side), Image.Resampling.NEAREST)
    path = tmp_path / f"large.{suffix}"
    ImageOps.invert(large).convert("RGB").save(path)
    assert (read(path) - normalized(digit)).abs().mean() < 0.1  # of 2, blurred


def test_a_narrow_picture_keeps_its_shape(tmp_path: Path) -> None:
    stroke = np.full((400, 100), 230, dtype=np.uint8)
    stroke[100:300, 40:60] = 30
    Image.fromarray(stroke).save(tmp_path / "one.png")
    bright = read(tmp_path / "one.png") > 0
    rows, columns = (bright.any(dim=dim).nonzero().flatten() for dim in (1, 0))
    assert (len(rows), rows[0].item()) == (14, 7)  # half of 28, in the middle
    assert columns.tolist() in ([13], [14], [13, 14])
