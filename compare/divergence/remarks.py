"""Remarks on two runs about things that are no difference between them."""

from __future__ import annotations

from collections.abc import Iterator
from operator import itemgetter

from .difference import Comparison
from .evidence import GENERATORS, Evidence


def remarks(comparison: Comparison) -> list[str]:
    """Return the remarks, one sentence each."""
    a, b = comparison.a, comparison.b
    said = [*a.remarks, *b.remarks]
    said += [f"not seen in {run.name}: {what}" for run in (a, b) for what in run.unseen]
    if not comparison.weights_comparable:
        said.append("weights and gradients were not compared: other fingerprints")
    one, other = comparison.evaluations.get(0, ([], []))
    if comparison.pairs and len(one) != len(other):
        said.append(
            f"before the first step {a.name} evaluates {len(one)} batches and {b.name}"
            f" {len(other)} (as a Trainer's sanity check): no difference"
        )
    said += _parameters(comparison)
    said += _batches(comparison)
    if comparison.first is None:
        return said + _generators(comparison)
    evidence = Evidence(comparison, comparison.first)
    if evidence.machine and not evidence.is_rounding:
        said.append(f"not the same in both runs: {', '.join(evidence.machine)}")
    return said


def _parameters(comparison: Comparison) -> Iterator[str]:
    """Say how parameters were matched where their names do not tell it."""
    a, b, alignment = comparison.a, comparison.b, comparison.alignment
    for i, j in sorted({(x.optimizer, y.optimizer) for x, y in comparison.pairs}):
        if alignment.role_a[i] != alignment.role_b[j]:
            continue
        match = alignment.matches[i, j]
        names_a, names_b = a.optimizers[i].names, b.optimizers[j].names
        if match.by_position:
            yield (
                f"parameters are matched by position: {names_a[0]} in {a.name} is"
                f" {names_b[0]} in {b.name}"
            )
        for run, names, extra in (
            (a, names_a, match.only_a),
            (b, names_b, match.only_b),
        ):
            if extra:
                first = names[extra[0]]
                more = f" and {len(extra) - 1} more" if len(extra) > 1 else ""
                yield f"only the optimizer of {run.name} has {first}{more}"


def _batches(comparison: Comparison) -> Iterator[str]:
    """Say what was not seen of the batches."""
    for run in (comparison.a, comparison.b):
        if "OptimizedModule" in str(run.layers):
            yield f"{run.name} is compiled: the inside of its model was not seen"
    pairs = comparison.pairs
    if any(bool(x.batch) != bool(y.batch) for x, y in pairs):
        yield "some batches were not seen in one run, and not compared"
    if not all(x.batch or y.batch for x, y in pairs):
        yield "some batches were not seen at all: nothing is said of them"
    if comparison.first is None and any(
        p and q and len(p.hash) != len(q.hash)
        for x, y in pairs
        for p, q in zip(x.batch, y.batch, strict=False)
    ):
        yield "one run shows more tensors of a batch; they were not compared"


def _generators(comparison: Comparison) -> list[str]:
    """Say which generator differs though no number does; the unused do not count."""
    found = []
    for name, words in GENERATORS.items():
        states = [
            (one.random.get(name), other.random.get(name))
            for one, other in comparison.pairs
        ]
        apart = (n for n, (x, y) in enumerate(states) if x and y and x != y)
        first = next(apart, len(states))
        if any(len(set(side)) > 1 for side in zip(*states[first:], strict=True)):
            found.append((first, words))
    if not found:
        return []
    first, words = min(found, key=itemgetter(0))
    return [
        f"the random generator of {words} differs from step {first} on, but no number"
        " does: the runs would differ as soon as something random is added"
    ]
