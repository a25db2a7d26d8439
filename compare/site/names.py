"""The index of Lightning's names: the lines that each of them replaces."""

import tomllib
from pathlib import Path
from typing import NamedTuple

from compare.site.code import Line, Row, is_folded, rows
from compare.site.text import slug


class Name(NamedTuple):
    """A name of Lightning.

    Attributes:
        id: for links to it.
        name: as it stands in the code.
        lesson: the lesson whose lines are shown.
        rows: these lines, in rows as on the page of the lesson.
    """

    id: str
    name: str
    lesson: str
    rows: list[Row]


def all_names() -> list[Name]:
    """Return all names, with their lines in the lesson that explains them."""
    table = tomllib.loads(Path(__file__).with_name("names.toml").read_text("utf-8"))
    found = []
    for lesson, names in table.items():
        lesson_rows = [row for row in rows(lesson) if not is_folded(row)]
        for name, wanted in names.items():
            cut = [cut_row(row, name, wanted) for row in lesson_rows]
            shown = [row for row in cut if row.plain or row.lightning]
            found.append(Name(slug(name), name, lesson, shown))
    return found


def cut_row(row: Row, name: str, wanted: list[str]) -> Row:
    """Return a row with only the lines that belong to a name.

    Args:
        row: of the page of a lesson.
        name: which the Lightning half contains.
        wanted: the ids of whole rows, such as "#validation", and text of single lines
            of the plain half.
    """
    if f"#{row.id}" in wanted:
        return row._replace(plain=trimmed(row.plain), lightning=trimmed(row.lightning))
    plain = [line for line in row.plain if any(text in line.text for text in wanted)]
    lightning = [line for line in row.lightning if name in line.text]
    return row._replace(plain=trimmed(plain), lightning=trimmed(lightning))


def trimmed(lines: list[Line]) -> list[Line]:
    """Return the lines of the lesson's own file, without marks and the last blanks."""
    kept = [line._replace(kind="") for line in lines if line.kind != "removed"]
    while kept and not kept[-1].text:
        kept.pop()
    return kept
