"""The form of a cause: one small function on the evidence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from compare.divergence.evidence import Evidence

Rule = Callable[[Evidence], str | None]


@dataclass(frozen=True)
class Cause:
    """Something that makes two runs differ, and how to know it."""

    name: str
    quantities: tuple[str, ...]  # in which it is seen first
    what: str
    confirm: str
    lesson: str
    rule: Rule


@dataclass(frozen=True)
class Finding:
    """A cause that fits the evidence, and what in the evidence speaks for it."""

    cause: Cause
    because: str


def cause(*quantities: str, lesson: str) -> Callable[[Rule], Cause]:
    """Make a rule a cause. Its docstring says what happened and then how to confirm it.

    The rule returns what speaks for the cause, or None where nothing does. It is asked
    only when the first difference is in one of the quantities.
    """

    def make(rule: Rule) -> Cause:
        what, confirm = (rule.__doc__ or "").split("\n\n", 1)
        return Cause(
            name=rule.__name__.replace("_", "-"),
            quantities=quantities,
            what=" ".join(what.split()),
            confirm=" ".join(confirm.split()),
            lesson=lesson,
            rule=rule,
        )

    return make
