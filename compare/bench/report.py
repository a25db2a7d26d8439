"""Measurements as text: their conditions, and tables of medians with quartiles."""

import os
import platform
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import quantiles
from typing import Any

import torch
from tabulate import tabulate

from compare.bench.turns import Samples

UNITS = {"µs": 1e-6, "ms": 1e-3}


def conditions(
    dataset: str,
    threads: int,
    rounds: int,
    packages: Iterable[str] = (),
    cuda: bool = False,
) -> str:
    """Return the date, the machine, the versions and the data of a measurement."""
    info = Path("/proc/cpuinfo")
    device = platform.processor()
    if info.exists():
        names = [line for line in info.read_text().splitlines() if "model name" in line]
        device = names[0].partition(": ")[2] if names else device
    if cuda:
        device = f"{torch.cuda.get_device_name()}, {device}"
    versions = ", ".join(
        f"{name} {version(name)}"
        for name in ("torch", "pytorch-lightning", *packages)
        if is_installed(name)
    )
    return (
        f"{datetime.now(UTC).date()}; {device}, {os.cpu_count()} cores, load"
        f" {os.getloadavg()[0]:.1f} beforehand, {threads} thread; Python"
        f" {platform.python_version()}, {versions}; {dataset}, n = {rounds}"
    )


def is_installed(package: str) -> bool:
    """Return whether a package is installed."""
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def with_quartiles(values: list[float], form: str) -> str:
    """Return the median and, in brackets, the quartiles of some numbers."""
    lower, middle, upper = quantiles(values, n=4, method="inclusive")
    return f"{middle:{form}} ({lower:{form}} to {upper:{form}})"


def ratios(samples: Samples, way: str, base: str) -> list[float]:
    """Return how many times `base` a way takes, for each round.

    The two of a round were measured one after the other, under much the same load.
    """
    pairs = zip(samples[way], samples[base], strict=True)
    return [one / other for one, other in pairs]


def ratio(samples: Samples, way: str, base: str) -> str:
    """Return how many times `base` a way takes, as text."""
    return with_quartiles(ratios(samples, way, base), ".2f")


def in_unit(seconds: list[float], unit: str) -> str:
    """Return seconds in another unit, as text."""
    scaled = [value / UNITS[unit] for value in seconds]
    return with_quartiles(scaled, ".0f" if unit == "µs" else ".2f")


def yes_or_no(answer: bool) -> str:
    """Return an answer as text."""
    return "yes" if answer else "no"


def table(heads: list[str], rows: list[list[Any]], form: str) -> str:
    """Return a table in a format of tabulate, with its cells as they are."""
    return tabulate(rows, heads, form, disable_numparse=True)


def compared(results: dict[str, Any], what: str, times: str, form: str) -> str:
    """Return a table with a row for each way, compared with the first way.

    Args:
        results: `seconds`, and `same`: the names of those that compute the same.
        what: the head of the names.
        times: the head of the ratios.
        form: a format of tabulate.
    """
    seconds = results["seconds"]
    first = next(iter(seconds))
    rows = [
        [
            name,
            in_unit(one, "µs"),
            ratio(seconds, name, first),
            yes_or_no(name in results["same"]),
        ]
        for name, one in seconds.items()
    ]
    return table([what, "µs", times, "bit-equal"], rows, form)
