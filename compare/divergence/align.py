"""Find what in one run stands for what in the other: optimizers and parameters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ..trace.run import Layout, Optimizer, Run

# what DistributedDataParallel, torch.compile, Fabric and the like put into a name
_WRAPPERS = {
    "module",
    "_orig_mod",
    "_forward_module",
    "_original_module",
    "_fsdp_wrapped_module",
    "_checkpoint_wrapped_module",
}


@dataclass(frozen=True)
class Match:
    """The tensors of two layouts, as places in their lists."""

    pairs: tuple[tuple[int, int], ...]
    only_a: tuple[int, ...]
    only_b: tuple[int, ...]
    how: str  # "name", or "position" where the names differ but the shapes do not


@dataclass(frozen=True)
class Alignment:
    """The optimizers of the two runs that do the same work.

    `lane_a` and `lane_b` give to each optimizer the number of the work it does; None
    means that the other run has no such optimizer.
    """

    lane_a: tuple[int | None, ...]
    lane_b: tuple[int | None, ...]
    matches: dict[tuple[int, int], Match]


def plain_name(name: str) -> str:
    """Return a parameter's name without what wrappers added to it."""
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)


def match(a: Layout, b: Layout) -> Match:
    """Match tensors by name, where one run may put a prefix before it, or by position.

    A port often holds the model as `self.model`: the prefix is what most names share.
    """
    names = [[plain_name(n) for n in layout.names] for layout in (a, b)]
    pairs = _by_name(names[0], names[1], a, b)
    complete = len(pairs) == len(names[0]) == len(names[1])
    if not complete and a.shapes == b.shapes:
        return Match(tuple((i, i) for i in range(len(names[0]))), (), (), "position")
    matched_a, matched_b = {i for i, _ in pairs}, {j for _, j in pairs}
    return Match(
        pairs=tuple(pairs),
        only_a=tuple(i for i in range(len(names[0])) if i not in matched_a),
        only_b=tuple(j for j in range(len(names[1])) if j not in matched_b),
        how="name",
    )


def _by_name(
    names_a: Sequence[str], names_b: Sequence[str], a: Layout, b: Layout
) -> list[tuple[int, int]]:
    """Return the pairs of the same name and shape under the best pair of prefixes."""
    where = {(name, b.shapes[j]): j for j, name in enumerate(names_b)}
    ends: dict[tuple[str, tuple[int, ...]], list[str]] = {}
    for name, shape in where:
        ends.setdefault((name.rsplit(".", 1)[-1], shape), []).append(name)
    votes: Counter[tuple[str, str]] = Counter()
    for name, shape in zip(names_a, a.shapes, strict=True):
        for other in ends.get((name.rsplit(".", 1)[-1], shape), ())[:50]:
            votes[_prefixes(name, other)] += 1
    best: list[tuple[int, int]] = []
    ranked = sorted(votes, key=lambda p: (-votes[p], len(p[0]) + len(p[1])))
    for one, other in [("", ""), *ranked[:5]]:
        pairs = [
            (i, where[key])
            for i, name in enumerate(names_a)
            if name.startswith(one)
            and (key := (other + name[len(one) :], a.shapes[i])) in where
        ]
        best = max(best, pairs, key=len)
    return best


def _prefixes(one: str, other: str) -> tuple[str, str]:
    """Return what stands before the last parts that two names share."""
    parts = one.split("."), other.split(".")
    while parts[0] and parts[1] and parts[0][-1] == parts[1][-1]:
        parts[0].pop()
        parts[1].pop()
    first, second = (".".join([*rest, ""]) for rest in parts)
    return first, second


def align(a: Run, b: Run) -> Alignment:
    """Find for each optimizer the one that works on the same parameters."""
    matches = {
        (i, j): match(one, other)
        for i, one in enumerate(a.optimizers)
        for j, other in enumerate(b.optimizers)
    }
    lane_b = [_best(matches, a, b, j) for j in range(len(b.optimizers))]
    for j, lane in enumerate(lane_b):  # the models may have no layer in common
        if lane is None and j < len(a.optimizers) and j not in lane_b:
            lane_b[j] = j
    lane_a = [
        # one that nobody matched may be a later copy of one that somebody did
        i if i in lane_b else _copy_of(a.optimizers, i, lane_b)
        for i in range(len(a.optimizers))
    ]
    return Alignment(tuple(lane_a), tuple(lane_b), matches)


def _best(matches: dict[tuple[int, int], Match], a: Run, b: Run, j: int) -> int | None:
    """Return the optimizer with the most parameters of b's j, the same place first."""
    share: dict[int, tuple[float, int, bool, int]] = {}
    other = b.optimizers[j]
    for i, one in enumerate(a.optimizers):
        pairs = matches[i, j].pairs
        equal = sum(one.weights.part(p) == other.weights.part(q) for p, q in pairs)
        sizes = sorted((len(one.names), len(other.names)))
        enough = equal or 2 * len(pairs) > sizes[0]  # a bias may match any other
        part = len(pairs) / sizes[1] if enough else 0.0
        share[i] = part, equal, i == j, -i  # two models may have the same layers
    best = max(share, key=lambda i: share[i], default=None)
    return best if best is not None and share[best][0] else None


def _copy_of(
    optimizers: Sequence[Optimizer], i: int, taken: Sequence[int | None]
) -> int | None:
    for earlier in range(i):
        one, other = optimizers[earlier], optimizers[i]
        if earlier in taken and (one.names, one.shapes) == (other.names, other.shapes):
            return earlier
    return None
