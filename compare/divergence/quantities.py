"""Compare two records of the same step, quantity by quantity, bit for bit."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from compare.divergence.align import Match
from compare.trace.run import NO_TENSOR, Batch, Evaluation, Optimizer, Step, Tensors

Parted = tuple[
    str, str, str, str
]  # the quantity, its two values and a detail, in words


def in_step(
    a: Step, b: Step, match: Match, optimizers: tuple[Optimizer, Optimizer]
) -> Parted | None:
    """Return the first quantity in which two steps differ; None when they are the same.

    match and optimizers are those that made the two steps.
    """
    names = optimizers[0].names
    if parted := _in_batches(a.batch, b.batch):
        return parted
    if a.batch and b.batch and a.mode != b.mode:
        return "mode", a.mode, b.mode, ""
    if list(map(_bits, a.loss)) != list(map(_bits, b.loss)):
        return "loss", _numbers(a.loss), _numbers(b.loss), ""
    if where := _in_tensors(a.gradient, b.gradient, match, names):
        return "gradient", _tensors(a.gradient), _tensors(b.gradient), where
    if where := _updated_by_one(a, b, match, optimizers):
        return "gradient", _tensors(a.gradient), _tensors(b.gradient), where
    if a.lr != b.lr:
        return "learning rate", _numbers(a.lr), _numbers(b.lr), ""
    if where := _in_tensors(a.weights, b.weights, match, names):
        return "weights", _tensors(a.weights), _tensors(b.weights), where
    return None


def in_evaluation(a: Evaluation, b: Evaluation) -> tuple[str, str, str] | None:
    """Return what differs between two evaluation batches, and both values."""
    if a.batch and b.batch and not _same_batch(a.batch, b.batch):
        return "input", _batch(a.batch), _batch(b.batch)
    if a.mode != b.mode:
        return "mode", a.mode, b.mode
    if a.output and b.output and a.output.hash != b.output.hash:
        return "output", _tensors(a.output), _tensors(b.output)
    return None


def _in_batches(a: Sequence[Batch], b: Sequence[Batch]) -> Parted | None:
    if not a or not b:
        return None  # a compiler hid it, or no module was called: no evidence
    if len(a) != len(b):
        return "batch", f"{len(a)} batches", f"{len(b)} batches", "in one step"
    for index, (one, other) in enumerate(zip(a, b, strict=True)):
        if not _same_batch(one, other):
            where = f"number {index} of {len(a)}" if len(a) > 1 else ""
            return "batch", _batch(one), _batch(other), where
    return None


def _same_batch(a: Batch, b: Batch) -> bool:
    if len(a.hash) == len(b.hash):
        return a.hash == b.hash
    # a compiled model shows all its inputs, another one those of its first layer
    return set(a.hash) <= set(b.hash) or set(b.hash) <= set(a.hash)


def _in_tensors(
    a: Tensors, b: Tensors, match: Match, names: Sequence[str]
) -> str | None:
    """Return which parameters differ, in words; None when all are the same."""
    different = [names[i] for i, j in match.pairs if a.part(i) != b.part(j)]
    if different:
        more = f" and {len(different) - 1} more" if len(different) > 1 else ""
        return f"{different[0]}{more}, of {len(match.pairs)} parameters"
    alone = match.only_a or match.only_b
    return None if alone or a.hash == b.hash else f"of {len(match.pairs)} parameters"


def _updated_by_one(
    a: Step, b: Step, match: Match, optimizers: tuple[Optimizer, Optimizer]
) -> str | None:
    """Return which parameters have a gradient that the other run has no place for."""
    names = [
        optimizer.names[place]
        for step, optimizer, places in (
            (a, optimizers[0], match.only_a),
            (b, optimizers[1], match.only_b),
        )
        for place in places
        if step.gradient.part(place) != NO_TENSOR
    ]
    return f"{', '.join(names[:3])}: in one optimizer only" if names else None


def _bits(value: float) -> bytes:
    """Tell -0.0 from 0.0, but not one NaN from another."""
    return b"nan" if value != value else struct.pack("d", value)


def _numbers(values: Sequence[float]) -> str:
    shown = ", ".join(map(repr, values[:4]))
    return f"{shown}, ... ({len(values)})" if len(values) > 4 else shown or "-"


def _batch(batch: Batch) -> str:
    shapes = " and ".join("x".join(map(str, s)) or "scalar" for s in batch.shape)
    means = " and ".join(f"{mean:.6g}" for mean in batch.mean)
    return f"{shapes}, mean {means}, hash {batch.hash[0][:8]}"


def _tensors(tensors: Tensors) -> str:
    return f"norm {tensors.norm:.9g}, hash {tensors.hash[:8]}"
