"""Find what in one run stands for what in the other: optimizers and parameters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

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
    by_position: bool  # as the names differ, and the shapes do not


@dataclass(frozen=True)
class Alignment:
    """The optimizers of the two runs that do the same work.

    `role_a` and `role_b` give each optimizer the number of its work; None means that
    the other run has no such optimizer.
    """

    role_a: tuple[int | None, ...]
    role_b: tuple[int | None, ...]
    matches: dict[tuple[int, int], Match]


def plain_name(name: str) -> str:
    """Return a parameter's name without what wrappers added to it."""
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)


def match(a: Layout, b: Layout) -> Match:
    """Match tensors by name, where one run may put a prefix before it, or by position.

    A port often holds the model as `self.model`: the prefix is what most names share.
    """
    return _match(Layout(a.names, a.shapes), Layout(b.names, b.shapes))


@cache  # the same layouts are matched at every step
def _match(a: Layout, b: Layout) -> Match:
    pairs = _by_name(a, b)
    complete = len(pairs) == len(a.names) == len(b.names)
    if not complete and a.shapes == b.shapes:
        return Match(tuple((i, i) for i in range(len(a.names))), (), (), True)
    matched_a, matched_b = {i for i, _ in pairs}, {j for _, j in pairs}
    return Match(
        pairs=tuple(pairs),
        only_a=tuple(i for i in range(len(a.names)) if i not in matched_a),
        only_b=tuple(j for j in range(len(b.names)) if j not in matched_b),
        by_position=False,
    )


def _by_name(a: Layout, b: Layout) -> list[tuple[int, int]]:
    """Return the pairs of the same name and shape under the best pair of prefixes."""
    names_a, names_b = (list(map(plain_name, layout.names)) for layout in (a, b))
    where = {(name, b.shapes[j]): j for j, name in enumerate(names_b)}
    by_end: dict[tuple[str, tuple[int, ...]], list[str]] = {}
    for name, shape in where:
        by_end.setdefault((name.rsplit(".", 1)[-1], shape), []).append(name)
    votes: Counter[tuple[str, str]] = Counter()
    for name, shape in zip(names_a, a.shapes, strict=True):
        # a model may have thousands of equal layers: 50 are enough for a vote
        for other in by_end.get((name.rsplit(".", 1)[-1], shape), ())[:50]:
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
    # an optimizer that was given other parameters has a new number, and its old role
    firsts_a, firsts_b = (
        [first_number(run.optimizers, i) for i in range(len(run.optimizers))]
        for run in (a, b)
    )
    role_b = {j: _best(matches, a, b, j, set(firsts_a)) for j in set(firsts_b)}
    for j, role in role_b.items():  # the models may have no layer in common
        if role is None and j in firsts_a and j not in role_b.values():
            role_b[j] = j
    role_a = {
        # one that nobody matched may be a later copy of one that somebody did
        i: i if i in role_b.values() else _copy_of(a.optimizers, i, role_b.values())
        for i in set(firsts_a)
    }
    return Alignment(
        tuple(role_a[i] for i in firsts_a), tuple(role_b[j] for j in firsts_b), matches
    )


def first_number(optimizers: Sequence[Optimizer], number: int) -> int:
    """Return the number an optimizer had before its parameters ever changed."""
    while (before := optimizers[number].before) is not None:
        number = before
    return number


def _best(
    matches: dict[tuple[int, int], Match], a: Run, b: Run, j: int, choice: set[int]
) -> int | None:
    """Return the optimizer with the most parameters of b's j, the same place first."""
    rank: dict[int, tuple[float, int, bool, int]] = {}
    other = b.optimizers[j]
    for i in choice:
        one, pairs = a.optimizers[i], matches[i, j].pairs
        hash_a, hash_b = one.weights.hash_of, other.weights.hash_of
        equal = sum(hash_a(p) == hash_b(q) for p, q in pairs)
        sizes = sorted((len(one.names), len(other.names)))
        enough = equal or 2 * len(pairs) > sizes[0]  # a bias may match any other
        share = len(pairs) / sizes[1] if enough else 0.0
        rank[i] = share, equal, i == j, -i  # two models may have the same layers
    best = max(rank, key=lambda i: rank[i], default=None)
    return best if best is not None and rank[best][0] else None


def _copy_of(
    optimizers: Sequence[Optimizer], i: int, roles: Iterable[int | None]
) -> int | None:
    """Return an earlier optimizer with a role and with the same parameters."""
    for earlier in range(i):
        one, other = optimizers[earlier], optimizers[i]
        if earlier in roles and (one.names, one.shapes) == (other.names, other.shapes):
            return earlier
    return None
