"""The parity table: the numbers of two runs side by side."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor


class Row(NamedTuple):
    """One quantity of two runs.

    Attributes:
        quantity: its name.
        plain: the last point of a curve, or the norm of anything else.
        lightning: the same of the other run.
        difference: the largest absolute difference, or why there is none.
        same: whether all of it is equal to the last bit.
    """

    quantity: str
    plain: str
    lightning: str
    difference: str
    same: bool


def compare_results(
    plain: Mapping[str, Tensor], lightning: Mapping[str, Tensor]
) -> list[Row]:
    """Return a row for every quantity that one run or both have."""
    return [
        compare_quantity(name, plain.get(name), lightning.get(name))
        for name in {**plain, **lightning}
    ]


def compare_quantity(name: str, plain: Tensor | None, lightning: Tensor | None) -> Row:
    """Return the row of one quantity; None stands for a run that has none of it."""
    shown = show(plain), show(lightning)
    if plain is None or lightning is None:
        return Row(name, *shown, "missing in one", same=False)
    if plain.shape != lightning.shape:
        sizes = f"sizes {[*plain.shape]} and {[*lightning.shape]}"
        return Row(name, *shown, sizes, same=False)
    if plain.dtype != lightning.dtype:
        types = f"{plain.dtype} and {lightning.dtype}".replace("torch.", "")
        return Row(name, *shown, types, same=False)
    difference = (plain.double() - lightning.double()).abs().max().item()
    return Row(name, *shown, f"{difference:.3g}", same=torch.equal(plain, lightning))


def show(numbers: Tensor | None) -> str:
    """Return the one number that stands for many; nine digits tell floats apart."""
    if numbers is None:
        return "-"
    is_curve = numbers.dim() == 2 and numbers.dtype == torch.float64
    return f"{numbers[-1, 1] if is_curve else numbers.double().norm():.9g}"
