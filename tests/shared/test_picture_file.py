"""Any image file becomes a digit as MNIST has them, or one clear line."""

import io
import struct
import zlib
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
from shared.pictures.picture_file import UNKNOWN, read_image, read_images
from shared.runtime.errors import UserError

Pixels = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def digit() -> Pixels:
    """Return a real digit, (28, 28), whose darkest pixel is 0 and brightest 255."""
    pixels = load_5k().pixels
    return pixels[pixels.amax(dim=(1, 2)) == 255][0].numpy()


def read(path: Path) -> Tensor:
    """Return the one image of a file, (28, 28), after checking that there is one."""
    (batch,) = read_image(path)
    images, labels = batch
    assert images.shape == (1, 1, 28, 28)
    assert labels.tolist() == [UNKNOWN]
    return images[0, 0]


def normalized(digit: Pixels) -> Tensor:
    """Return a digit as the data set gives it to the model."""
    images = Images(torch.from_numpy(digit).unsqueeze(0), torch.tensor([0]))
    return ImageDataset(images).__getitems__([0])[0][0, 0]


def with_alpha(digit: Pixels, ink: int) -> Image.Image:
    """Return a digit in black or white ink on nothing at all."""
    gray = np.full_like(digit, ink)
    return Image.fromarray(np.dstack([gray, gray, gray, digit]))


WAYS: dict[str, Callable[[Pixels], Image.Image]] = {
    "gray.png": Image.fromarray,
    "gray.bmp": Image.fromarray,
    "gray.gif": Image.fromarray,
    "gray.pgm": Image.fromarray,
    "color.png": lambda digit: Image.fromarray(digit).convert("RGB"),
    "color.tif": lambda digit: Image.fromarray(digit).convert("RGB"),
    "cmyk.tif": lambda digit: Image.fromarray(digit).convert("RGB").convert("CMYK"),
    "palette.png": lambda digit: Image.fromarray(digit).convert("P"),
    "opaque.png": lambda digit: Image.fromarray(digit).convert("RGBA"),
    "white-on-nothing.png": lambda digit: with_alpha(digit, 255),
    "black-on-nothing.png": lambda digit: with_alpha(digit, 0),
    "black-on-white.png": lambda digit: Image.fromarray(255 - digit),
    "16-bit.png": lambda digit: Image.fromarray(digit.astype(np.uint16) * 257),
    "32-bit.tif": lambda digit: Image.fromarray(digit.astype(np.int32) * 65_793),
    "float.tif": lambda digit: Image.fromarray(digit.astype(np.float32) / 255),
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
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
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


@pytest.mark.parametrize("size", [(1, 1), (3000, 1), (1, 3000), (29, 5)])
@pytest.mark.parametrize("brightness", [0, 255])
def test_an_image_of_nothing_is_black(
    tmp_path: Path, size: tuple[int, int], brightness: int
) -> None:
    Image.new("L", size, brightness).save(tmp_path / "nothing.png")
    assert (read(tmp_path / "nothing.png") == -1).all()


def bomb() -> bytes:
    """Return a small PNG file that claims to be an image of 10 gigapixels."""
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body
        + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )  # fmt: skip


def truncated() -> bytes:
    """Return half of a PNG file."""
    noise = np.random.default_rng(0).integers(0, 256, (50, 50), dtype=np.uint8)
    return encoded(Image.fromarray(noise))[:1500]


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    """Return an image file."""
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


BAD = {
    "text": (b"seven\n", "no image that can be read"),
    "empty": (b"", "no image that can be read"),
    "truncated": (truncated(), "no image that can be read"),
    "bomb": (bomb(), "more than 89,478,485 pixels"),
    "program": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no image that"),
    "lab": (encoded(Image.new("LAB", (9, 9)), "TIFF"), "no image that can be read"),
    "nan": (
        encoded(Image.fromarray(np.full((9, 9), np.nan, np.float32)), "TIFF"),
        "pixels that are not finite",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_one_line(tmp_path: Path, name: str) -> None:
    content, said = BAD[name]
    path = tmp_path / "bad"
    path.write_bytes(content)
    with pytest.raises(UserError, match=said) as error:
        read_image(path)
    assert "\n" not in str(error.value)


def test_what_is_no_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is missing"):
        read_image(tmp_path / "missing.png")
    with pytest.raises(UserError, match="is no file"):
        read_image(tmp_path)


def test_a_photo_is_the_middle_of_it_in_colors(tmp_path: Path) -> None:
    photo = Image.new("RGB", (64, 32), (255, 0, 0))
    photo.paste((0, 255, 51), (16, 0, 48, 32))
    photo.save(tmp_path / "photo.png")
    Image.new("L", (100, 100), 51).save(tmp_path / "gray.png")
    paths = [tmp_path / "photo.png", tmp_path / "gray.png"]
    (first, _), (second, labels) = read_images(paths, "cifar10")
    assert first.shape == second.shape == (1, 3, 32, 32)
    assert labels.tolist() == [UNKNOWN]
    green = torch.tensor([-1.0, 1.0, -0.6]).view(3, 1, 1)
    assert torch.allclose(first[0], green.expand(3, 32, 32))
    assert torch.allclose(second, torch.tensor(-0.6))
