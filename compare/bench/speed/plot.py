"""The plot of `compare.bench.speed`: for which step the overhead stops mattering."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from compare.bench.speed.turns import ratio, spread


def draw(results: dict[str, Any], path: Path) -> None:
    """Draw each point of the part `sizes`: Lightning's ratio over the step's time."""
    time = "processor" if results["machine"]["device"] == "cpu" else "clock"
    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots()
    points = results["sizes"]
    small: Any = {"textcoords": "offset points", "fontsize": 8}
    sizes = sorted({point["batch_size"] for point in points})
    for size, marker in zip(sizes, "osD^v", strict=False):
        some = [point for point in points if point["batch_size"] == size]
        x = [spread(point["samples"]["plain"], time).median / 1e3 for point in some]
        ratios = [ratio(point["samples"], "lightning", "plain", time) for point in some]
        y = [each.median for each in ratios]
        below = [each.median - each.lower for each in ratios]
        above = [each.upper - each.median for each in ratios]
        label, color = f"{size} images a step", f"C{sizes.index(size)}"
        look: Any = {"fmt": marker, "markersize": 5, "color": color}
        axes.errorbar(x, y, (below, above), label=label, **look)
        beside: Any = {
            "xytext": (6, 3),
            "color": color,
        }
        if marker in "oD^":
            beside |= {"xytext": (-6, 3), "horizontalalignment": "right"}
        for point, where in zip(some, zip(x, y, strict=True), strict=True):
            name = f"{point['parameters'] / 1e6:.2g}M"
            axes.annotate(name, where, **beside, **small)
    axes.axhline(1, color="gray", linewidth=1)
    axes.axhline(1.03, color="gray", linewidth=1, linestyle=":", label="1.03")
    axes.set(
        xscale="log",
        xlabel="ms a step of the plain half",
        ylabel="Lightning half / plain half",
    )
    axes.margins(0.08)
    axes.legend(title="median, quartiles; M: million parameters")
    figure.savefig(path, dpi=120)
