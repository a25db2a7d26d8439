"""The contents of the pages, taken from the repository's own files."""

import json
import re
from collections.abc import Iterator
from difflib import SequenceMatcher
from typing import Any, NamedTuple

from compare.legacy.rules import EFFECTS, RULES
from compare.lessons.costs import (
    HALVES,
    ROOT,
    by_cost,
    cost,
    describe,
    idea,
    parent,
)
from compare.site import plot
from compare.site.code import Line, plain_lines
from compare.site.stale import CLINIC, LESSONS, RESULTS
from compare.site.text import slug, unique

# The order in which a comparison looks for differences.
SYMPTOMS = {
    "length": "One run has more steps",
    "optimizer": "The optimizers differ",
    "batch": "The batches differ",
    "mode": "A layer is in another mode",
    "buffers": "The buffers differ, as those of BatchNorm",
    "loss": "The loss differs, and the batches do not",
    "gradient": "The gradient differs, and the loss does not",
    "learning rate": "The learning rate differs",
    "weights": "The weights differ, and the gradient does not",
    "evaluation": "The evaluation differs, and the training does not",
}
# Above this line a comparison shows what differs, and below it why.
CAUSES = "Likely causes"
HARM = {
    "unsafe": "unsafe",
    "ignored": "silently ignored",
    "warns": "warns",
    "raises": "raises an error",
    "note": "note",
}


class Lesson(NamedTuple):
    """A row of the table of lessons."""

    name: str
    idea: str
    costs: list[str]
    bars: list[int]
    numbers: int


class Exercise(NamedTuple):
    """A case of the clinic: its lines as a diff, and what to say about it."""

    name: str
    title: str
    quantity: str
    mend: str
    thread: str
    printed: str
    symptom: str
    sick: list[Line]
    both: list[Line]
    helpers: list[Line]


class Removed(NamedTuple):
    """A row of the table of old interfaces."""

    id: str
    found: str
    since: str
    effect: str
    harm: str
    now: str


def page(name: str) -> str:
    """Return the Markdown of a page in compare/lessons."""
    return (ROOT / "compare" / "lessons" / f"{name}.md").read_text("utf-8")


def result(lesson: str) -> dict[str, Any] | None:
    """Return what the runs of a lesson have left, None if there is nothing."""
    path = LESSONS / f"{lesson}.json"
    return json.loads(path.read_text("utf-8")) if path.exists() else None


def all_lessons() -> list[Lesson]:
    """Return the rows of the table of lessons, in order."""
    found = []
    for name in by_cost():
        paths = [ROOT / half / f"{name}.py" for half in HALVES]
        extends = parent(paths[0]) is not None
        bars = [cost(path).added if extends else 0 for path in paths]
        computed = result(name)
        numbers = computed["numbers"] if computed else 0
        costs = [describe(path) for path in paths]
        found.append(Lesson(name, idea(name), costs, bars, numbers))
    return found


def exercises() -> dict[str, Exercise]:
    """Return all cases of the clinic by name."""
    cases = json.loads(CLINIC.read_text("utf-8"))["cases"] if CLINIC.exists() else {}
    return {
        name: Exercise(
            name,
            case["title"],
            case["quantity"],
            case["mend"],
            case["thread"],
            case["printed"],
            case["printed"].partition(CAUSES)[0].strip(),
            plain_lines(case["sick"]),
            difference(case["sick"], case["healthy"]),
            plain_lines(case["helpers"]),
        )
        for name, case in cases.items()
    }


def difference(sick: str, healthy: str) -> list[Line]:
    """Return two sources in one, the lines of only one of them marked."""
    texts = sick.splitlines(), healthy.splitlines()
    lines = plain_lines(sick), plain_lines(healthy)
    found = []
    matcher = SequenceMatcher(None, *texts, autojunk=False)
    for kind, *span in matcher.get_opcodes():
        old, new = lines[0][slice(*span[:2])], lines[1][slice(*span[2:])]
        if kind == "equal":
            found += old
        else:
            found += [line._replace(kind="removed") for line in old]
            found += [line._replace(kind="added") for line in new]
    return found


def removed() -> list[Removed]:
    """Return the table of interfaces that Lightning has no more, by name."""
    found: list[Removed] = []
    for rules in RULES.values():
        for rule in rules.values():
            if not rule.since:
                continue  # a mistake in every version
            shown = fill(rule.found)
            taken = [other.id for other in found]
            row = unique(slug(f"{rule.kind} {rule.old}"), taken)
            harm = HARM[rule.effect]
            now = fill(rule.now)
            found.append(Removed(row, shown, rule.since, rule.effect, harm, now))
    order = {effect: number for number, effect in enumerate(EFFECTS)}
    return sorted(
        found, key=lambda row: (order[row.effect], "…" in row.found, row.found.lower())
    )


def fill(text: str) -> str:
    """Return a text of a rule with an ellipsis where a name of the reader's stands."""
    return re.sub(r"\{\d\}", "…", text)


def plots(computed: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a plot of each curve, and of each histogram."""
    for title, curve in computed["curves"].items():
        if len(curve["by hand"]) < 2:
            continue
        series = {name: curve[name] for name in HALVES.values()}
        svg = plot.curves(title, series)
        yield {"title": title, "svg": svg, "difference": curve["difference"]}
    for title, bars in computed["histograms"].items():
        yield {"title": title, "svg": plot.histogram(title, bars), "difference": None}


def speed() -> list[tuple[str, float]]:
    """Return what a step takes in microseconds, the median of each row of the bench."""
    seconds = json.loads((RESULTS / "ladder.json").read_text("utf-8"))["seconds"]
    return [
        (name, sorted(times)[len(times) // 2] * 1e6) for name, times in seconds.items()
    ]
