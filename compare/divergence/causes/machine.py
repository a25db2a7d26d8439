# ruff: noqa: D401 (a rule's docstring is what the user reads)
"""Causes that lie in the machine: they fit small differences of any quantity."""

from __future__ import annotations

from compare.divergence.causes.rule import cause
from compare.divergence.evidence import Evidence


@cause("loss", "gradient", "weights", "evaluation", lesson="train")
def other_machine(e: Evidence) -> str | None:
    """The machines, the threads or the versions are not the same.

    Run both on one machine with torch.set_num_threads(1). Sums are rounded in another
    order on another device or with another number of threads.
    """
    keys = ("device", "threads", "torch", "platform", "matmul", "deterministic")
    parts = [
        f"{key}: {e.a.start.get(key)} against {e.b.start.get(key)}"
        for key in keys
        if e.a.start.get(key) != e.b.start.get(key)
    ]
    return "; ".join(parts)
