"""The table as a picture, for the wall of a class."""

from pathlib import Path

from matplotlib.figure import Figure

from compare.cost.costs import Cost
from shared.checkpoint import write_whole
from shared.drawing import new_figure, to_pixels, to_png

PARTS = {
    "stay": ("by hand: stays", "tab:green"),
    "move": ("by hand: moves into a hook", "tab:orange"),
    "go": ("by hand: goes, Lightning does it", "tab:gray"),
}
THICKNESS = 0.4
"""Of a bar; it is 1 from one lesson to the next."""


def draw_chart(costs: dict[str, Cost]) -> Figure:
    """Return a figure with two bars for each lesson, the first one in three parts."""
    figure, axes = new_figure("Statements of each lesson, by hand and in Lightning")
    by_hand = [place - THICKNESS / 2 for place in range(len(costs))]
    ends = [0] * len(costs)
    for fate, (label, color) in PARTS.items():
        counts = [cost.fates()[fate] for cost in costs.values()]
        bars = axes.barh(by_hand, counts, THICKNESS, ends, color=color, label=label)
        ends = [end + count for end, count in zip(ends, counts, strict=True)]
    axes.bar_label(bars, ends, padding=4, fontsize=14)
    in_lightning = [place + THICKNESS / 2 for place in range(len(costs))]
    counts = [cost.halves["lightning"].statements for cost in costs.values()]
    label = "in Lightning"
    bars = axes.barh(in_lightning, counts, THICKNESS, color="tab:purple", label=label)
    axes.bar_label(bars, padding=4, fontsize=14)
    axes.set_yticks(range(len(costs)), [*costs], fontsize=18)
    axes.invert_yaxis()  # the first lesson on top
    axes.tick_params(axis="x", labelsize=16)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=2, fontsize=18)
    return figure


def write_chart(costs: dict[str, Cost], path: Path) -> None:
    """Draw the chart into a PNG file.

    Raises:
        OSError: it cannot be written.
    """
    write_whole(path, to_png(to_pixels(draw_chart(costs))))
