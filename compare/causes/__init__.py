"""Why two runs may part: rules on the evidence, one small function each.

To add one, write a function in `data.py`, `model.py` or `optimizer.py` that takes the
`Clues` and gives how strongly they speak for the cause, and put `@cause(...)` over it
with what the user should read.
"""

from compare.causes import data, model, optimizer
from compare.causes.clues import CAUSES, Cause, Clues

__all__ = ["Cause", "Clues", "data", "likely_causes", "model", "optimizer"]


def likely_causes(clues: Clues) -> list[Cause]:
    """Give the causes the evidence speaks for, the likeliest first, at most five."""
    scores = [(cause.score(clues), cause) for cause in CAUSES]
    ranked = sorted((s for s in scores if s[0] > 0), key=lambda s: -s[0])
    return [cause for _, cause in ranked[:5]]
