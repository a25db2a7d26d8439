"""The form of a cause: a row of the table in `table.py`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..evidence import Evidence

Sign = Callable[[Evidence], str | None]

PROVEN = 3  # the trace shows it, and shows that it matters here
ROUNDING = 2.5
LIKELY = 2  # the trace shows a pattern that this cause makes
POSSIBLE = 1  # nothing speaks against it


@dataclass(frozen=True)
class Cause:
    """Something that makes two runs differ, and how to know it.

    `sign` returns what in the evidence speaks for the cause, or None where nothing
    does. It is asked only when the first difference is in one of the quantities.
    """

    name: str
    quantities: str  # in which it is seen first, between commas
    strength: float
    sign: Sign
    what: str
    confirm: str
    lesson: str
    case: str  # of the clinic, where it is shown


@dataclass(frozen=True)
class Finding:
    """A cause that fits the evidence, and what in the evidence speaks for it."""

    cause: Cause
    because: str
