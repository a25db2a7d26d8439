"""The table of `compare.bench.scaling`, and the README's part.

    python -m compare.bench.scaling.render

renews it from the committed results, compare/results/.
"""

from statistics import median
from textwrap import fill
from typing import Any

from compare.bench.measured import Results, committed, conditions
from compare.bench.readme import write_part
from compare.bench.spread import middle_half, show, table
from shared.runtime.command import one_line_errors

LABELS = {"plain_pytorch": "by hand", "lightning": "in Lightning"}


def rate(way: dict[str, Any]) -> float:
    """Return the images a second of all processes."""
    return 1e3 * way["devices"] * way["batch_size"] / median(way["ms"])


def gain(results: Results, way: dict[str, Any]) -> float:
    """Return how many times the images of one process a way gets through."""
    return next(
        rate(way) / rate(one)
        for one in results["ways"]
        if one["devices"] == 1 and one["half"] == way["half"]
    )


def make_table(results: Results) -> str:
    """Return a row for each way."""
    size = results["options"]["batch_size"]
    kinds = {(2, size // 2): ", strong scaling", (2, size): ", weak scaling"}
    headers = ["processes x images", "half", "ms a step", "n", "images/s"]
    headers += [f"for 1x{size}", "messages"]
    on_gpu = results["machine"]["device"] != "cpu"
    rows = []
    for way in results["ways"]:
        setup = way["devices"], way["batch_size"]
        row = [f"{setup[0]}x{setup[1]}{kinds.get(setup, '')}", LABELS[way["half"]]]
        row += [show(middle_half(way["ms"]), ".1f"), str(len(way["ms"]))]
        row += [f"{rate(way):.0f}", f"{gain(results, way):.2f}"]
        row += [f"{way[share]:.0%}" for share in ("messages", "gpu_busy")[: 1 + on_gpu]]
        rows.append(row)
    return table(rows, headers + ["GPU busy"] * on_gpu)


def render(results: Results) -> str:
    """Return on what and how all was timed, the table, and what it says."""
    options = results["options"]
    gains = [gain(results, way) for way in results["ways"] if way["devices"] > 1]
    text = (
        f"{conditions(results)} The halves and the numbers of processes took turns,"
        f" {options['rounds']} runs of"
        f" {options['max_epochs'] * options['limit_train_batches']} steps each. Steps"
        " are timed by the clock, which other programs disturb, ten at a time; shown"
        " are medians of n such times, and quartiles in brackets. Messages are what"
        " rank 0 spent on them, by the profiler."
    )
    parts = [fill(text, 88), make_table(results)]
    if gains:  # of two GPUs, if there are two
        says = (
            f"Here two processes get through at most {max(gains):.2f} times the images"
            " of one in the same time. As long as that is far from 2, the model is too"
            " small to be shared."
        )
        parts.append(fill(says, 88))
    return "\n\n".join(parts)


def readme_part() -> str:
    """Return what the README says by the committed results."""
    return "\n\n".join(map(render, committed("scaling").values()))


if __name__ == "__main__":
    with one_line_errors():
        write_part("scaling", readme_part())
