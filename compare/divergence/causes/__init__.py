"""Why two runs differ: rules on the evidence."""

from compare.divergence.causes import data, evaluation, loss, machine, mode, update
from compare.divergence.causes.rule import Cause, Finding
from compare.divergence.evidence import Evidence

# in the order of likelihood: within a file the more specific stand first
CAUSES = [
    thing
    for module in (data, mode, loss, evaluation, update, machine)
    for thing in vars(module).values()
    if isinstance(thing, Cause)
]


def likely(evidence: Evidence) -> list[Finding]:
    """Return the causes that fit the evidence, the most likely first."""
    return [
        Finding(cause, because)
        for cause in CAUSES
        if evidence.quantity in cause.quantities and (because := cause.rule(evidence))
    ]
