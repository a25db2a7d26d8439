"""Why two runs differ: a table of causes, and the signs in the evidence."""

from __future__ import annotations

from ..evidence import Evidence
from .cause import LIKELY, ROUNDING, Finding
from .table import CAUSES


def likely(evidence: Evidence) -> list[Finding]:
    """Return the causes that fit the evidence, the most likely first.

    What the trace proves excludes what is only possible; and what is rounding is no
    mistake, so it excludes all that the trace does not prove.
    """
    found = [
        Finding(cause, because)
        for cause in CAUSES
        if evidence.quantity in cause.quantities.split(", ")
        if (because := cause.sign(evidence))
    ]
    found.sort(key=lambda finding: -finding.cause.strength)
    best = found[0].cause.strength if found else 0.0
    lowest = best if best in (ROUNDING, LIKELY - 1) else LIKELY
    return [f for f in found if f.cause.strength >= lowest]


__all__ = ["CAUSES", "likely"]
