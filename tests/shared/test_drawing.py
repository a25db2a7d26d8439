"""The pictures show what they should, and come out the same each time."""

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import Tensor

from shared.datasets.catalog import load_5k
from shared.pictures.pictures import draw_embeddings, draw_pairs


def test_images_stand_above_their_reconstructions() -> None:
    pixels = load_5k().pixels[::500].unsqueeze(1)
    images = pixels / 127.5 - 1
    grid = draw_pairs(images, -images)
    assert grid.shape == (3, 2 * 30 + 2, 10 * 30 + 2)
    for column, image in enumerate(images):
        left = 30 * column + 2
        above = grid[:, 2:30, left : left + 28]
        below = grid[:, 32:60, left : left + 28]
        assert torch.allclose(above, (image + 1) / 2)
        assert torch.allclose(below, (1 - image) / 2)


def test_what_is_beyond_black_and_white_is_cut_off() -> None:
    grid = draw_pairs(torch.full((1, 1, 28, 28), -3.0), torch.full((1, 1, 28, 28), 3.0))
    assert (grid[:, 2:30, 2:30] == 0).all()
    assert (grid[:, 32:60, 2:30] == 1).all()


def embeddings(count: int, latent_dim: int) -> tuple[Tensor, Tensor]:
    """Return random embeddings, whose first number varies most, and labels."""
    generator = torch.Generator().manual_seed(0)
    numbers = torch.randn(count, latent_dim, generator=generator)
    return numbers * torch.arange(latent_dim, 0, -1), torch.arange(count) % 10


def points(figure: Figure) -> Tensor:
    """Return the points of a scatter, (count, 2)."""
    offsets = figure.axes[0].collections[0].get_offsets()
    return torch.from_numpy(np.asarray(offsets))


@pytest.mark.parametrize("latent_dim", [2, 3])
def test_embeddings_are_projected_on_what_varies_most(latent_dim: int) -> None:
    numbers, labels = embeddings(200, latent_dim)
    drawn = points(draw_embeddings(numbers, labels)).double()
    centered = (numbers - numbers.mean(dim=0)).double()
    variances = torch.linalg.svdvals(centered).square()
    assert torch.allclose(drawn.square().sum(dim=0), variances[:2], rtol=1e-4)
    first = torch.stack([drawn[:, 0], centered[:, 0]])
    assert torch.corrcoef(first)[0, 1].abs() > 0.99


def test_a_single_number_lies_on_a_line() -> None:
    numbers, labels = embeddings(50, 1)
    drawn = points(draw_embeddings(numbers, labels))
    assert (drawn[:, 1] == 0).all()
    assert torch.corrcoef(torch.stack([drawn[:, 0], numbers[:, 0]]))[0, 1].abs() > 0.99


def test_a_point_has_the_color_of_its_label() -> None:
    figure = draw_embeddings(*embeddings(50, 2))
    scatter = figure.axes[0].collections[0]
    scatter.update_scalarmappable()
    colors = np.asarray(scatter.get_facecolors())  # type: ignore[attr-defined]
    assert len(np.unique(colors[:10], axis=0)) == 10
    for index, color in enumerate(colors):
        assert np.array_equal(color, colors[index % 10])
    legend = figure.axes[0].get_legend()
    assert legend
    assert len(legend.get_texts()) == 10


@pytest.mark.parametrize("latent_dim", [1, 2, 16])
@pytest.mark.parametrize("count", [1, 2, 300])
def test_any_number_of_embeddings_can_be_drawn(latent_dim: int, count: int) -> None:
    drawn = points(draw_embeddings(*embeddings(count, latent_dim)))
    assert drawn.shape == (count, 2)
