"""Figures of what an autoencoder does, large enough to be read at the back of a class.

All are of the same size, WIDTH x HEIGHT pixels, and need no display: each is a Figure
of its own, where pyplot would keep a global list of them.
"""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from matplotlib import colormaps, rcdefaults
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

WIDTH, HEIGHT = 1280, 960
LABELS = range(10)
COLORS = colormaps["tab10"].colors  # type: ignore[attr-defined]
EXAMPLES = 4
"""How many images of each label stand above their reconstructions."""
NAME_IN_PLOT: dict[str, Any] = {
    "fontsize": 30,
    "fontweight": "bold",
    "ha": "center",
    "va": "center",
    "path_effects": [withStroke(linewidth=5, foreground="white")],
}

rcdefaults()  # a matplotlibrc of the user's would draw other pictures


def draw_reconstructions(
    images: Tensor, labels: Tensor, reconstructions: Tensor, title: str
) -> Figure:
    """Return a figure of the first images of each label above their reconstructions.

    A place stays empty where there are too few images of a label.

    Args:
        images: (count, 1, 28, 28) of float32 in -1..1.
        labels: (count,) of int64, 0 to 9.
        reconstructions: (count, 1, 28, 28) of float32; black below -1, white above 1.
        title: what is shown.
    """
    cells = torch.full((2 * EXAMPLES, len(LABELS), 28, 28), -1.0)
    for label in LABELS:
        indices = (labels == label).nonzero().flatten()[:EXAMPLES]
        cells[: 2 * len(indices) : 2, label] = images[indices].squeeze(1)
        cells[1 : 2 * len(indices) : 2, label] = reconstructions[indices].squeeze(1)
    figure, axes = new_figure(title)
    draw_cells(axes, cells, [str(label) for label in LABELS])
    names = ["image", "reconstruction"] * EXAMPLES
    axes.set_yticks(centers(2 * EXAMPLES), names, fontsize=18)
    return figure


def draw_pair(image: Tensor, reconstruction: Tensor, title: str) -> Figure:
    """Return a figure of one image, (1, 28, 28), beside its reconstruction."""
    figure, axes = new_figure(title)
    cells = torch.stack([image, reconstruction], dim=1)
    draw_cells(axes, cells, ["image", "reconstruction"])
    axes.set_yticks([])
    return figure


def draw_cells(axes: Axes, cells: Tensor, columns: Sequence[str]) -> None:
    """Draw (rows, columns, 28, 28) images in -1..1, a gray line between them."""
    framed = F.pad(cells.clamp(-1, 1), (1, 1, 1, 1))
    picture = torch.cat([torch.cat([*row], dim=1) for row in framed])
    axes.imshow(picture.numpy(), cmap="gray", vmin=-1, vmax=1, interpolation="nearest")
    axes.xaxis.tick_top()
    axes.set_xticks(centers(len(columns)), columns, fontsize=20)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def centers(count: int) -> list[float]:
    """Return the middle, in pixels, of each of some framed images in a row."""
    return [(index + 0.5) * 30 - 0.5 for index in range(count)]


def draw_embeddings(embeddings: Tensor, labels: Tensor, title: str) -> Figure:
    """Return a scatter of the embeddings, colored by label.

    Two numbers are drawn as they are; one beside the label, a little scattered; more
    are projected onto the plane in which they vary most (their two principal
    components). The axes say which.

    Args:
        embeddings: (count, latent_dim) of float32.
        labels: (count,) of int64, 0 to 9.
        title: what is shown.
    """
    points, names = to_plane(embeddings, labels)
    figure, axes = new_figure(title)
    # One call with the points as they come: label after label would hide the first.
    colors = np.array(COLORS)[labels.numpy()]
    size = point_size(len(labels))
    axes.scatter(points[:, 0], points[:, 1], c=colors, s=size, linewidths=0)
    for label in LABELS:
        own = points[labels == label]
        axes.scatter([], [], color=COLORS[label], s=150, label=str(label))
        if len(own):  # so that nobody has to tell ten colors apart
            x, y = own.median(dim=0).values.tolist()
            axes.text(x, y, str(label), color=COLORS[label], **NAME_IN_PLOT)
    if embeddings.shape[1] == 1:
        axes.set_yticks(LABELS)
    else:
        axes.set_aspect("equal", adjustable="datalim")  # distances are what they are
    axes.set_xlabel(names[0], fontsize=20)
    axes.set_ylabel(names[1], fontsize=20)
    axes.tick_params(labelsize=16)
    figure.legend(
        title="label", title_fontsize=20, fontsize=20, loc="outside right center"
    )
    return figure


def point_size(count: int) -> float:
    """Return the area of a point, in points squared: many small ones, few large."""
    return float(np.clip(80_000 / count, 8, 80))


def to_plane(embeddings: Tensor, labels: Tensor) -> tuple[Tensor, tuple[str, str]]:
    """Return points, (count, 2), for embeddings, and what their coordinates are."""
    count, latent_dim = embeddings.shape
    if latent_dim == 1:
        spread = torch.arange(count) * 0.618 % 1 - 0.5  # even, and the same each time
        points = torch.stack([embeddings[:, 0], labels + 0.6 * spread], dim=1)
        return points, ("the only number of the embedding", "label")
    if latent_dim == 2:
        return embeddings, ("number 1 of the embedding", "number 2 of the embedding")
    centered = embeddings.double() - embeddings.double().mean(dim=0)
    variances, directions = torch.linalg.eigh(centered.T @ centered)  # ascending
    directions = directions[:, [-1, -2]]
    # A direction and its opposite are as good: let the largest part point upward.
    largest = directions.gather(0, directions.abs().argmax(dim=0, keepdim=True))
    first, second = (
        f"principal component {index}"
        f" ({variances[-index] / variances.sum().clamp(min=1e-30):.0%} of the variance)"
        for index in (1, 2)
    )
    return centered @ (directions * largest.sign()), (first, second)


def new_figure(title: str) -> tuple[Figure, Axes]:
    """Return an empty figure of the size that all have."""
    figure = Figure(figsize=(WIDTH / 100, HEIGHT / 100), dpi=100)
    figure.set_layout_engine("constrained", w_pad=0.2, h_pad=0.2)
    axes = figure.subplots()
    figure.suptitle(title, fontsize=24)
    return figure, axes


def to_pixels(figure: Figure) -> npt.NDArray[np.uint8]:
    """Return a figure as (HEIGHT, WIDTH, 3) of uint8."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:, :, :3].copy()


def to_png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Return pixels as a PNG file, with no date and no program's name in it."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()
