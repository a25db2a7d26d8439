"""Measurements as text: their conditions, and a table."""

import json
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from tabulate import tabulate

from compare.bench.turns import as_table, ratios, show

RESULTS = Path(__file__).parents[1] / "results" / "ladder.json"
"""The committed results, which compare/lessons/speed.md shows."""


def conditions(dataset: str, threads: int, rounds: int) -> str:
    """Return the date, the machine, the versions and the data of a measurement."""
    info = Path("/proc/cpuinfo")
    cpu = platform.processor()
    if info.exists():
        names = [line for line in info.read_text().splitlines() if "model name" in line]
        cpu = names[0].partition(": ")[2] if names else cpu
    versions = ", ".join(
        f"{name} {version(name)}" for name in ("torch", "pytorch-lightning")
    )
    return (
        f"{datetime.now(UTC).date()}; {cpu}, {os.cpu_count()} cores, load"
        f" {os.getloadavg()[0]:.1f} beforehand, {threads} thread; Python"
        f" {platform.python_version()}, {versions}; {dataset}, n = {rounds}"
    )


def table(seconds: dict[str, list[float]], tablefmt: str = "github") -> str:
    """Return the ladder as a table: microseconds, and multiples of the arithmetic."""
    base = next(iter(seconds))
    return tabulate(
        as_table(seconds, base, 1e-6),
        ["one step", "µs", "times the arithmetic"],
        tablefmt,
        disable_numparse=True,
    )


def committed() -> str:
    """Return the committed results: conditions, table, and the two ratios aimed at."""
    results = json.loads(RESULTS.read_text())
    seconds = results["seconds"]
    arithmetic, _, plain, barebones, lightning = seconds
    over_arithmetic = show(ratios(seconds, plain, arithmetic), ".2f")
    over_barebones = show(ratios(seconds, lightning, barebones), ".2f")
    return "\n".join(
        [
            f"{results['conditions']}.",
            "",
            table(seconds),
            "",
            f"The plain half takes {over_arithmetic} times the arithmetic; the aim is"
            " 1.15.",
            f"The Lightning half takes {over_barebones} times the bare Trainer; the aim"
            " is 1.25.",
        ]
    )
