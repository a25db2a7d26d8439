"""What each lesson costs in either half."""

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from compare.cost.answers import Answer, Fate, find_answers
from compare.cost.source import HALVES, Source, Statement, read_source
from shared.errors import UserError

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Half:
    """The file of one half.

    Attributes:
        statements: how many it has.
        added: how many of them train.py of the same half has not. One that stands
            twice here and once there counts once.
        borrowed: how many statements of other lessons it imports instead of repeating
            them: those behind the names, and behind what these use in turn.
        imports: those names, by lesson.
    """

    statements: int
    added: int
    borrowed: int
    imports: dict[str, list[str]]


@dataclass(frozen=True)
class Cost:
    """One lesson.

    Attributes:
        halves: the counts, by half.
        answers: what becomes of each statement of the plain half.
        tags: by tag and half, the lines that have it, by number.
    """

    halves: dict[str, Half]
    answers: list[Answer]
    tags: dict[str, dict[str, dict[int, str]]]

    def fates(self) -> dict[str, int]:
        """Return how many statements of the plain half stay, move and go."""
        counts = Counter(answer.fate for answer in self.answers)
        return {fate: counts[fate] for fate in get_args(Fate)}


def measure(root: Path = ROOT) -> dict[str, Cost]:
    """Return the costs of every lesson that stands in both halves, `train` first.

    Raises:
        UserError: there is no lesson `train`, or a file is not Python.
        OSError: a file cannot be read.
    """
    plain, lightning = (
        {path.stem for path in (root / half).glob("[!_]*.py")} for half in HALVES
    )
    lessons = sorted(plain & lightning, key=lambda name: (name != "train", name))
    if "train" not in lessons:
        raise UserError(f"{root} has no lesson train in both {' and '.join(HALVES)}")
    sources = {
        f"{half}.{lesson}": read_source(root / half / f"{lesson}.py")
        for half in HALVES
        for lesson in lessons
    }
    return {lesson: compare(lesson, sources) for lesson in lessons}


def compare(lesson: str, sources: dict[str, Source]) -> Cost:
    """Return the cost of one lesson."""
    pair = {half: sources[f"{half}.{lesson}"] for half in HALVES}
    tags = {
        tag: {half: source.tagged.get(tag, {}) for half, source in pair.items()}
        for tag in {tag: 0 for source in pair.values() for tag in source.tagged}
    }
    plain, lightning = pair.values()
    # A tag is for the twins: it says nothing of another lesson's file.
    borrowed = [replace(one, tags=frozenset()) for one in borrow(lightning, sources)]
    answers = find_answers(plain.statements, lightning.statements + borrowed)
    halves = {half: count(half, lesson, sources) for half in HALVES}
    return Cost(halves, answers, tags)


def borrow(source: Source, sources: dict[str, Source]) -> list[Statement]:
    """Return the statements behind the names that a file imports from other lessons.

    Those behind the names that these use in turn are among them: a borrowed class has
    the methods of the class that it extends.
    """
    seen: set[tuple[str, str]] = set()
    found: dict[tuple[str, int], Statement] = {}  # two names can have one statement
    wanted = [
        (lesson, name) for lesson, names in source.imports.items() for name in names
    ]
    while wanted:
        lesson, name = wanted.pop()
        if lesson not in sources or (lesson, name) in seen:
            continue
        seen.add((lesson, name))
        lender = sources[lesson]
        for one in lender.defined.get(name, []):
            found[one.file, one.line] = one
            for other, names in {**lender.imports, lesson: [*lender.defined]}.items():
                wanted += [(other, name) for name in names if name in one.uses]
    return [found[place] for place in sorted(found)]


def count(half: str, lesson: str, sources: dict[str, Source]) -> Half:
    """Return the counts of one file."""
    source = sources[f"{half}.{lesson}"]
    texts, in_train = (
        Counter(one.text for one in sources[f"{half}.{name}"].statements)
        for name in (lesson, "train")
    )
    added = (texts - in_train).total()
    borrowed = len(borrow(source, sources))
    return Half(len(source.statements), added, borrowed, source.imports)
