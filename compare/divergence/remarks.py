"""Remarks on two runs about things that are no difference between them."""

from __future__ import annotations

from .difference import Comparison


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
    roles = comparison.alignment.role_a, comparison.alignment.role_b
    used = {(x.optimizer, y.optimizer) for x, y in comparison.pairs}
    for i, j in sorted(used):
        if roles[0][i] != roles[1][j]:
            continue
        match = comparison.alignment.matches[i, j]
        names = a.optimizers[i].names, b.optimizers[j].names
        if match.by_position:
            said.append(
                f"parameters are matched by position: {names[0][0]} in {a.name} is"
                f" {names[1][0]} in {b.name}"
            )
        for run, extra, own in (
            (a, match.only_a, names[0]),
            (b, match.only_b, names[1]),
        ):
            if extra:
                said.append(
                    f"only the optimizer of {run.name} has {own[extra[0]]}"
                    f" ({len(extra)} such)"
                )
    for run in (a, b):
        if "OptimizedModule" in str(run.layers):
            said.append(f"{run.name} is compiled: the inside of its model was not seen")
    if any(bool(x.batch) != bool(y.batch) for x, y in comparison.pairs):
        said.append("some batches were not seen in one run, and not compared")
    if not all(x.batch or y.batch for x, y in comparison.pairs):
        said.append("some batches were not seen at all: nothing is said of them")
    counts = {
        (len(p.hash), len(q.hash))
        for x, y in comparison.pairs
        for p, q in zip(x.batch, y.batch, strict=False)
        if p and q and len(p.hash) != len(q.hash)
    }
    if counts and comparison.first is None:
        said.append("one run shows more tensors of a batch; they were not compared")
    return said + _random(comparison)


def _random(comparison: Comparison) -> list[str]:
    """Say which generators differ though no number does; the unused do not count."""
    if comparison.first:
        return []
    names = {"torch": "torch", "cuda": "the GPU", "numpy": "NumPy", "python": "Python"}
    for number, (one, other) in enumerate(comparison.pairs):
        from_here = comparison.pairs[number:]
        for name, words in names.items():
            if name not in one.random or name not in other.random:
                continue
            states = [{p[side].random.get(name) for p in from_here} for side in (0, 1)]
            moved = max(map(len, states)) > 1
            if one.random[name] != other.random[name] and moved:
                return [
                    f"the random generator of {words} differs from step {number} on,"
                    " but no number does: the runs would differ as soon as something"
                    " random is added"
                ]
    return []
