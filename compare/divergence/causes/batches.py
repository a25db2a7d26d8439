"""Questions about the batches of two runs that several causes ask."""

from __future__ import annotations

from math import prod

from ...trace.run import Batch, Step
from ..evidence import WORD, Evidence
from ..size import distance


def same_samples(e: Evidence) -> bool:
    """Tell whether from here on both runs see the same samples in another order."""
    difference = 0
    for one, other in e.pairs[max(e.step, 0) :]:
        difference = (difference + sum_of_rows([one]) - sum_of_rows([other])) % WORD
        if difference == 0:
            return True
    return False


def sum_of_rows(steps: list[Step]) -> int:
    """Return what is the same for the same rows of first inputs in any order."""
    rows = [batch.rows[0] for step in steps for batch in step.batch if batch]
    return sum(rows) % WORD


def row_counts(e: Evidence) -> tuple[int, int] | None:
    """Return the numbers of rows of the two batches that differ."""
    if not e.batches:
        return None
    one, other = ((batch.shape[0] or (1,))[0] for batch in e.batches)
    return one, other


def row_shapes(e: Evidence) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Return the shapes of a row where they differ, for equally many rows."""
    both = row_counts(e)
    if e.batches and both and both[0] == both[1]:
        for one, other in zip(e.batches[0].shape, e.batches[1].shape, strict=False):
            if one[1:] != other[1:] and prod(one) != prod(other):
                return one[1:], other[1:]
    return None


def shapes_differ(e: Evidence) -> bool:
    """Tell whether the runs have other numbers of batches, of rows, or of values."""
    both = row_counts(e)
    if e.counts[0] != e.counts[1] or row_shapes(e):
        return True
    return both is not None and both[0] != both[1]


def has_other_values(e: Evidence) -> bool:
    """Tell batches that differ in their values, not in their order or shape."""
    return bool(e.batches) and not same_samples(e) and not shapes_differ(e)


def looks_augmented(e: Evidence) -> bool:
    """Tell other values with about the same mean and size."""
    if not e.batches or not has_other_values(e) or scaling(e):
        return False
    one, other = e.batches
    if one.shape != other.shape:
        return False
    for x, y in zip(_moments(one), _moments(other), strict=True):
        if distance(x[1], y[1]) > 0.1 or abs(x[0] - y[0]) > 0.2 * max(x[1], y[1]):
            return False
    return True


def _moments(batch: Batch) -> list[tuple[float, float]]:
    """Return mean and root mean square of each tensor."""
    parts = zip(batch.mean, batch.norm, batch.shape, strict=True)
    return [(mean, norm / max(1, prod(shape)) ** 0.5) for mean, norm, shape in parts]


def scaling(e: Evidence) -> str | None:
    """Say how the first values of one batch are those of the other, scaled."""
    if not e.batches or not has_other_values(e) or e.is_rounding:
        return None
    for one, other in zip(e.batches[0].first, e.batches[1].first, strict=False):
        if one != other and len(one) == len(other) == 3 and one[1] != one[0]:
            scale = (other[1] - other[0]) / (one[1] - one[0])
            shift = other[0] - scale * one[0]
            size = max(map(abs, other)) or 1.0
            if scale and abs(scale * one[2] + shift - other[2]) < 1e-4 * size:
                plus = f", {shift:+.4g}" if abs(shift) > 1e-6 * size else ""
                return f"the first values are {scale:.4g} times the other's{plus}"
    return None
