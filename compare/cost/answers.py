"""What becomes of each statement of the plain half in the Lightning half.

- It *stays* where the function of the same name has the same statement, or else one
  with the same tag, or else one that assigns to the same name.
- It *moves* where another function has the same statement, or else a method, which is a
  hook, has one with nearly the same text, or else one that gives the same string to a
  call, or else one with the same tag.
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
from difflib import SequenceMatcher, get_close_matches
from typing import Literal, NamedTuple

from compare.cost.source import Statement

Fate = Literal["stay", "move", "go"]
NEARLY = 0.85
"""How much of two texts has to be the same for them to be nearly the same: with less,
`return loss` would be an answer to `return test_loss`."""


class Answer(NamedTuple):
    """A statement of the plain half, what becomes of it, and where that stands."""

    statement: Statement
    fate: Fate
    by: Statement | None


def likeness(plain: Statement, lightning: Statement) -> float:
    """Return how much two statements are alike, from 0 to 1."""
    return SequenceMatcher(None, plain.text, lightning.text, autojunk=False).ratio()


def hooked(plain: Statement, lightning: Statement) -> bool:
    """Return whether what is in a function by hand is in a method in Lightning."""
    return bool(plain.place) and lightning.in_method


def nearly_same(plain: Statement, lightning: Statement) -> bool:
    """Return whether the texts of two statements differ in little."""
    return bool(get_close_matches(plain.text, [lightning.text], cutoff=NEARLY))


def has_words(plain: Statement) -> bool:
    """Return whether it is more than one word, such as `try` or `continue`."""
    return not plain.text.strip(":").isidentifier()


WAYS: list[tuple[Fate, Callable[[Statement, Statement], object]]] = [
    ("stay", lambda a, b: a.place == b.place and a.key == b.key),
    ("stay", lambda a, b: a.place == b.place and a.tags & b.tags),
    ("stay", lambda a, b: a.place == b.place and a.assigned & b.assigned),
    ("move", lambda a, b: has_words(a) and a.key == b.key),
    ("move", lambda a, b: hooked(a, b) and has_words(a) and nearly_same(a, b)),
    ("move", lambda a, b: hooked(a, b) and a.strings & b.strings),
    ("move", lambda a, b: hooked(a, b) and a.tags & b.tags),
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
