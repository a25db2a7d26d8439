"""The causes that make two runs differ, and their ranking.

To add a cause, write it in the module it belongs to, and a case for it in the clinic.
Of equally strong causes the first one written comes first.
"""

from __future__ import annotations

from ..evidence import Evidence
from . import content, evaluation, loss, mode, order, start, update
from .cause import Cause, Finding

# Each module's own causes, without those that it imports from another.
CAUSES = [
    thing
    for module in (start, order, content, mode, loss, update, evaluation)
    for thing in vars(module).values()
    if isinstance(thing, Cause) and thing.sign.__module__ == module.__name__
]


def likely(evidence: Evidence) -> list[Finding]:
    """Return the causes that fit the evidence, the most likely first.

    What the trace proves excludes what is only likely, and that what is only possible.
    What is rounding is no mistake: it excludes all that the trace does not prove.
    """
    found = [
        Finding(cause, because)
        for cause in CAUSES
        if evidence.quantity in cause.seen_in and (because := cause.sign(evidence))
    ]
    best = max((finding.cause.strength for finding in found), default=0)
    return [finding for finding in found if finding.cause.strength == best]
