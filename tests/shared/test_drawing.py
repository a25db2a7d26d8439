"""What the pictures show, and that they come out the same each time."""

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import Tensor

from shared.datasets.catalog import load_5k
from shared.pictures.drawing import (
    EXAMPLES,
    HEIGHT,
    WIDTH,
    draw_embeddings,
    draw_pair,
    draw_reconstructions,
    to_pixels,
)


@pytest.fixture(scope="module")
def digits() -> tuple[Tensor, Tensor]:
    """Return images, (100, 1, 28, 28), and labels of ten digits of each kind."""
    images = load_5k()
    indices = torch.arange(0, 5000, 50)
    pixels, labels = images.select(indices)
    return pixels.unsqueeze(1) / 127.5 - 1, labels


def cell(figure: Figure, row: int, column: int) -> Tensor:
    """Return one 28 x 28 image of those that a figure shows side by side."""
    (picture,) = figure.axes[0].images
    top, left = 30 * row + 1, 30 * column + 1
    shown = np.asarray(picture.get_array())[top : top + 28, left : left + 28]
    return torch.from_numpy(shown.copy())


def test_images_stand_above_their_reconstructions(
    digits: tuple[Tensor, Tensor],
) -> None:
    images, labels = digits
    figure = draw_reconstructions(images, labels, -images, "mnist, step 12")
    for label in range(10):
        own = images[labels == label][:, 0]
        for example in range(EXAMPLES):
            assert torch.equal(cell(figure, 2 * example, label), own[example])
            assert torch.equal(cell(figure, 2 * example + 1, label), -own[example])
    assert figure.get_suptitle() == "mnist, step 12"


def test_a_label_without_images_leaves_its_places_empty(
    digits: tuple[Tensor, Tensor],
) -> None:
    images, labels = digits[0][:1], digits[1][:1]
    figure = draw_reconstructions(images, labels, images, "")
    assert torch.equal(cell(figure, 1, 0), images[0, 0])
    assert (cell(figure, 2, 0) == -1).all()
    assert (cell(figure, 0, 1) == -1).all()


def test_a_pair_stands_side_by_side(digits: tuple[Tensor, Tensor]) -> None:
    image = digits[0][0]
    figure = draw_pair(image, 3 * image, "")
    assert torch.equal(cell(figure, 0, 0), image[0])
    assert torch.equal(cell(figure, 0, 1), (3 * image[0]).clamp(-1, 1))


def embeddings(count: int, latent_dim: int) -> tuple[Tensor, Tensor]:
    """Return random embeddings, of which number 1 varies most, and labels."""
    generator = torch.Generator().manual_seed(0)
    numbers = torch.randn(count, latent_dim, generator=generator)
    numbers[:, 0] *= 10
    return numbers, torch.arange(count) % 10


def points(figure: Figure) -> Tensor:
    """Return the points of a scatter, (count, 2), in the order of the embeddings."""
    return torch.tensor(np.asarray(figure.axes[0].collections[0].get_offsets()))


def test_two_numbers_are_drawn_as_they_are() -> None:
    numbers, labels = embeddings(200, 2)
    figure = draw_embeddings(numbers, labels, "mnist, step 12")
    assert torch.equal(points(figure), numbers.double())
    (axes,) = figure.axes
    assert axes.get_xlabel() == "number 1 of the embedding"
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == list("0123456789")
    assert figure.get_suptitle() == "mnist, step 12"


def test_a_point_has_the_color_of_its_label() -> None:
    figure = draw_embeddings(*embeddings(50, 2), "")
    scatter, *of_legend = figure.axes[0].collections
    colors = np.asarray(scatter.get_facecolors())  # type: ignore[attr-defined]
    for index, color in enumerate(colors):
        same = of_legend[index % 10].get_facecolors()  # type: ignore[attr-defined]
        assert np.array_equal(color, same[0])
    assert len(np.unique(colors, axis=0)) == 10


def test_one_number_is_drawn_beside_the_label() -> None:
    numbers, labels = embeddings(200, 1)
    drawn = points(draw_embeddings(numbers, labels, ""))
    assert torch.equal(drawn[:, 0], numbers[:, 0].double())
    assert torch.equal(drawn[:, 1].round(), labels.double())


@pytest.mark.parametrize("latent_dim", [3, 16])
def test_more_numbers_are_projected_on_what_varies_most(latent_dim: int) -> None:
    numbers, labels = embeddings(200, latent_dim)
    figure = draw_embeddings(numbers, labels, "")
    drawn = points(figure)
    centered = (numbers - numbers.mean(dim=0)).double()
    variances = torch.linalg.svdvals(centered).square()
    assert torch.allclose(drawn.square().sum(dim=0), variances[:2])
    assert torch.allclose(drawn.sum(dim=0), torch.zeros(2).double(), atol=1e-3)
    # Number 1 varies most, so it is the first component, and points upward.
    assert torch.corrcoef(torch.stack([drawn[:, 0], centered[:, 0]]))[0, 1] > 0.99
    share = variances[0] / variances.sum()
    label = f"principal component 1 ({share:.0%} of the variance)"
    assert figure.axes[0].get_xlabel() == label


@pytest.mark.parametrize("latent_dim", [1, 2, 3, 16])
@pytest.mark.parametrize("count", [1, 2, 300])
def test_pictures_are_of_one_size_and_the_same_each_time(
    latent_dim: int, count: int
) -> None:
    first, second = (
        to_pixels(draw_embeddings(*embeddings(count, latent_dim), "title"))
        for _ in range(2)
    )
    assert first.shape == (HEIGHT, WIDTH, 3)
    assert np.array_equal(first, second)


def test_embeddings_that_are_all_equal_can_be_drawn() -> None:
    figure = draw_embeddings(torch.ones(20, 3), torch.arange(20) % 10, "")
    assert "(0% of the variance)" in figure.axes[0].get_xlabel()
    assert to_pixels(figure).shape == (HEIGHT, WIDTH, 3)
