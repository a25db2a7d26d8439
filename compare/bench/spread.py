"""The middle half of some numbers, and how tables show it."""

from collections.abc import Iterable, Sequence
from statistics import quantiles
from typing import NamedTuple

from tabulate import tabulate


class Spread(NamedTuple):
    """The middle half of some numbers, and how many they are."""

    median: float
    lower: float
    upper: float
    n: int


def middle_half(values: list[float]) -> Spread:
    """Return median and quartiles."""
    lower, middle, upper = quantiles(values, n=4, method="inclusive")
    return Spread(middle, lower, upper, len(values))


def show(taken: Spread, form: str) -> str:
    """Return median and quartiles."""
    return f"{taken.median:{form}} ({taken.lower:{form}} to {taken.upper:{form}})"


def table(rows: Iterable[Sequence[object]], headers: Sequence[str]) -> str:
    """Return a table in Markdown; numbers are given as they shall look."""
    align = ("left", *["right"] * (len(headers) - 1))
    return tabulate(
        rows, headers, tablefmt="github", disable_numparse=True, colalign=align
    )
