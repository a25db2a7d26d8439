"""What becomes of each statement of the plain half in the Lightning half.

- It *stays* where the function of the same name has the same statement, or else one
  with the same tag, or else one that assigns to the same name.
- It *moves* where another function has the same statement, or else a method, which is a
  hook, has one that gives the same text to a call, or else one with the same tag.
- Otherwise it *goes*: the Trainer does it, or another part of Lightning, unasked or
  because an argument says so. Some few stand there in other words and without a tag,
  which no count can know.

A Lightning statement answers one at most, the one most like it. Looked for are the
statements of the file and those behind the names that it borrows from other lessons, as
a hook of train.py is at work in each of them. The names of the halves make no
difference (PlainAutoEncoder is LitAutoEncoder), nor do the arguments of a `def` and the
bases of a `class`.
"""

from collections.abc import Callable
from difflib import SequenceMatcher
from typing import Literal, NamedTuple

from compare.cost.source import Statement

Fate = Literal["stay", "move", "go"]


class Answer(NamedTuple):
    """A statement of the plain half, what becomes of it, and where that stands."""

    statement: Statement
    fate: Fate
    by: Statement | None


# Outside of functions nothing moves into a hook; and one word, such as `try` or
# `continue`, is the same everywhere.
WAYS: list[tuple[Fate, Callable[[Statement, Statement], object]]] = [
    ("stay", lambda a, b: a.place == b.place and a.key == b.key),
    ("stay", lambda a, b: a.place == b.place and a.tags & b.tags),
    ("stay", lambda a, b: a.place == b.place and a.assigned & b.assigned),
    ("move", lambda a, b: a.key == b.key and not a.key.strip(":").isidentifier()),
    ("move", lambda a, b: a.place and b.in_method and a.strings & b.strings),
    ("move", lambda a, b: a.place and b.in_method and a.tags & b.tags),
]


def find_answers(plain: list[Statement], lightning: list[Statement]) -> list[Answer]:
    """Return what becomes of each statement of the plain half, in their order."""
    answers: dict[int, Answer] = {}
    free = list(lightning)
    for fate, fits in WAYS:
        for number, one in enumerate(plain):
            if number in answers:
                continue
            fitting = [other for other in free if fits(one, other)]
            if fitting:
                by = max(fitting, key=lambda other: likeness(one, other))
                free.remove(by)
                answers[number] = Answer(one, fate, by)
    return [answers.get(n, Answer(one, "go", None)) for n, one in enumerate(plain)]


def likeness(plain: Statement, lightning: Statement) -> float:
    """Return how much two statements are alike, from 0 to 1."""
    return SequenceMatcher(None, plain.text, lightning.text, autojunk=False).ratio()
