"""Find what in one run stands for what in the other: optimizers and parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from compare.trace.run import Optimizer, Run

# what DistributedDataParallel, torch.compile and the like put into a name
_WRAPPERS = {
    "module",
    "_orig_mod",
    "_fsdp_wrapped_module",
    "_checkpoint_wrapped_module",
}


@dataclass(frozen=True)
class Match:
    """The parameters of two optimizers, as places in their lists."""

    pairs: tuple[tuple[int, int], ...]
    only_a: tuple[int, ...]
    only_b: tuple[int, ...]
    how: str  # "name", or "position" where the names differ but the shapes do not


@dataclass(frozen=True)
class Alignment:
    """Which optimizers of the two runs do the same work.

    `lane_a` and `lane_b` give to each optimizer the number of the work it does; None
    means that the other run has no such optimizer.
    """

    lane_a: tuple[int | None, ...]
    lane_b: tuple[int | None, ...]
    matches: dict[tuple[int, int], Match]


def plain_name(name: str) -> str:
    """Return a parameter's name without what wrappers added to it."""
    parts = [part for part in name.split(".") if part not in _WRAPPERS]
    return ".".join(parts[1:] if parts[0] == "model" and len(parts) > 2 else parts)


def match(a: Optimizer, b: Optimizer) -> Match:
    """Match the parameters of two optimizers by name, or else by position and shape."""
    names_a, names_b = [[plain_name(n) for n in o.names] for o in (a, b)]
    if set(names_a) != set(names_b) and a.shapes == b.shapes:
        places = tuple((i, i) for i in range(len(names_a)))
        return Match(places, (), (), "position")
    where = {name: i for i, name in enumerate(names_b)}
    pairs = [
        (i, where[name])
        for i, name in enumerate(names_a)
        if name in where and a.shapes[i] == b.shapes[where[name]]
    ]
    matched_a, matched_b = {i for i, _ in pairs}, {j for _, j in pairs}
    return Match(
        pairs=tuple(pairs),
        only_a=tuple(i for i in range(len(names_a)) if i not in matched_a),
        only_b=tuple(j for j in range(len(names_b)) if j not in matched_b),
        how="name",
    )


def align(a: Run, b: Run) -> Alignment:
    """Find for each optimizer the one that works on the same parameters."""
    matches = {
        (i, j): match(one, other)
        for i, one in enumerate(a.optimizers)
        for j, other in enumerate(b.optimizers)
    }
    lane_b = [_best(matches, j, len(a.optimizers)) for j in range(len(b.optimizers))]
    lane_a = [
        # one that nobody matched may be a later copy of one that somebody did
        i if i in lane_b else _copy_of(a.optimizers, i, lane_b)
        for i in range(len(a.optimizers))
    ]
    return Alignment(tuple(lane_a), tuple(lane_b), matches)


def _best(matches: dict[tuple[int, int], Match], j: int, count: int) -> int | None:
    """Return the optimizer with the most parameters of b's j, the same place first."""
    shared = {i: len(matches[i, j].pairs) for i in range(count)}
    best = max(shared, key=lambda i: (shared[i], i == j, -i), default=None)
    return best if best is not None and shared[best] else None


def _copy_of(
    optimizers: Sequence[Optimizer], i: int, taken: Sequence[int | None]
) -> int | None:
    for earlier in range(i):
        if earlier in taken and optimizers[earlier].names == optimizers[i].names:
            return earlier
    return None
