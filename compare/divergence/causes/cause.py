"""The form of a cause: a function of the evidence, with its words beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..evidence import Evidence

PROVEN = 3  # the trace shows it, and shows that it matters here
ROUNDING = 2.5  # no mistake: the difference has the size of the last bits
LIKELY = 2  # the trace shows a pattern that this cause makes
POSSIBLE = 1  # nothing speaks against it

Sign = Callable[[Evidence], str | None]


@dataclass(frozen=True)
class Cause:
    """Something that makes two runs differ, and how to know it.

    `sign` returns what in the evidence speaks for the cause; None, or no words, where
    nothing does. It is asked only when the first difference is in one of the
    quantities of `seen_in`.
    """

    name: str
    strength: float
    seen_in: frozenset[str]
    sign: Sign
    what: str
    advice: str  # how to confirm and mend it
    lesson: str  # where it is explained
    case: str  # of the clinic, where it is shown


@dataclass(frozen=True)
class Finding:
    """A cause that fits the evidence, and what in the evidence speaks for it."""

    cause: Cause
    because: str


def cause(
    strength: float, seen_in: set[str], *, lesson: str, case: str
) -> Callable[[Sign], Cause]:
    """Make a cause of a function, its sign.

    The docstring of the sign says what happened, and its last paragraph what to do. The
    cause has the name of the sign, with hyphens.
    """

    def make(sign: Sign) -> Cause:
        paragraphs = (sign.__doc__ or "").split("\n\n")
        *what, advice = (" ".join(paragraph.split()) for paragraph in paragraphs)
        return Cause(
            name=sign.__name__.replace("_", "-"),
            strength=strength,
            seen_in=frozenset(seen_in),
            sign=sign,
            what=" ".join(what),
            advice=advice,
            lesson=lesson,
            case=case,
        )

    return make
