"""Remarks on two runs about things that are no difference between them."""

from __future__ import annotations

from compare.divergence.difference import Comparison


def remarks(comparison: Comparison) -> list[str]:
    """Return the remarks, one sentence each."""
    a, b = comparison.a, comparison.b
    said = [*a.remarks, *b.remarks]
    one, other = comparison.evaluations.get(0, ([], []))
    if comparison.pairs and len(one) != len(other):
        said.append(
            f"before the first step {a.name} evaluates {len(one)} batches and {b.name}"
            f" {len(other)} (as a Trainer's sanity check): no difference"
        )
    used = {(x.optimizer, y.optimizer) for x, y in comparison.pairs}
    for i, j in sorted(used):
        match = comparison.alignment.matches[i, j]
        names = a.optimizers[i].names, b.optimizers[j].names
        if match.how == "position":
            said.append(
                f"parameters are matched by position: {names[0][0]} in {a.name} is"
                f" {names[1][0]} in {b.name}"
            )
        for run, extra, own in (
            (a, match.only_a, names[0]),
            (b, match.only_b, names[1]),
        ):
            if extra:
                said.append(f"only {run.name} has {own[extra[0]]} ({len(extra)} such)")
    for run in (a, b):
        if "OptimizedModule" in str(run.layers):
            said.append(f"{run.name} is compiled: the inside of its model was not seen")
    if any(bool(x.batch) != bool(y.batch) for x, y in comparison.pairs):
        said.append("some batches were not seen in one run, and not compared")
    random = (n for n, (x, y) in enumerate(comparison.pairs) if x.random != y.random)
    if comparison.first is None and (step := next(random, None)) is not None:
        said.append(
            f"the random generators differ from step {step} on, but no number does: the"
            " runs would differ as soon as something random is added"
        )
    return said
