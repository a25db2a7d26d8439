"""Why two runs differ: a table of causes, and the signs in the evidence."""

from __future__ import annotations

from ..evidence import Evidence
from .cause import Finding
from .table import CAUSES


def likely(evidence: Evidence) -> list[Finding]:
    """Return the causes that fit the evidence, the most likely first.

    What the trace proves excludes what is only likely, and that what is only possible.
    What is rounding is no mistake: it excludes all that the trace does not prove.
    """
    found = [
        Finding(cause, because)
        for cause in CAUSES
        if evidence.quantity in cause.quantities.split(", ")
        if (because := cause.sign(evidence))
    ]
    found.sort(key=lambda finding: -finding.cause.strength)
    best = found[0].cause.strength if found else 0.0
    return [finding for finding in found if finding.cause.strength == best]


__all__ = ["CAUSES", "likely"]
