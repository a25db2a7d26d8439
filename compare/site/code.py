"""Python in HTML, and the two files of a lesson in rows."""

import re
from functools import cache
from html import escape
from typing import NamedTuple

from pygments.lexers.python import PythonLexer
from pygments.token import Token

from compare.lessons.anchors import ANCHOR, BANNER, TOP, Block, aligned
from compare.lessons.costs import HALVES, ROOT, diff, parent
from compare.site.text import slug, unique

# The first that fits is the class of a token; the style sheet has their colors.
CLASSES = {
    Token.Comment: "c",
    Token.Literal.String: "s",
    Token.Literal.Number: "m",
    Token.Keyword: "k",
    Token.Operator.Word: "k",
    Token.Name.Function: "f",
    Token.Name.Class: "f",
    Token.Name.Decorator: "d",
    Token.Name.Builtin: "b",
}
# The first line and the number of lines of a change, in the lesson.
HUNK = re.compile(r"^@@ .*? \+(\d+)(?:,(\d+))? @@.*\n", re.MULTILINE)


class Line(NamedTuple):
    """A line of code.

    Attributes:
        text: the line itself.
        html: the same, with colors.
        kind: "added" or "removed" by the lesson, "near" one of these, otherwise "".
        is_anchor: whether it is an anchor or a banner.
    """

    text: str
    html: str
    kind: str = ""
    is_anchor: bool = False

    @property
    def indent(self) -> int:
        """Return the number of spaces at the beginning."""
        return len(self.text) - len(self.text.lstrip(" "))


class Row(NamedTuple):
    """Blocks of the two halves that do the same.

    Attributes:
        id: for links to it.
        name: of its anchor or definition.
        is_anchor: whether it begins with an anchor.
        changed: whether the lesson changes it, in either half.
        plain: the lines of the plain half.
        lightning: the lines of the other.
    """

    id: str
    name: str
    is_anchor: bool
    changed: bool
    plain: list[Line]
    lightning: list[Line]


def highlight(source: str) -> list[str]:
    """Return the lines of a Python source as HTML with a class for each color."""
    lines = [""]
    for kind, text in PythonLexer(stripnl=False).get_tokens(source):
        name = next((CLASSES[one] for one in CLASSES if kind in one), "")
        for number, part in enumerate(text.split("\n")):
            if number:
                lines.append("")
            if part:
                html = escape(part, quote=False)
                lines[-1] += f'<i class="{name}">{html}</i>' if name else html
    # A browser would break a long line between the two characters of an arrow.
    lines = [line.replace("-&gt;", '<i class="arrow">-&gt;</i>') for line in lines]
    return lines[: len(source.splitlines())]


@cache
def plain_lines(source: str) -> list[Line]:
    """Return a source that is shown alone."""
    pairs = zip(source.splitlines(), highlight(source), strict=True)
    return [Line(text, html) for text, html in pairs]


class Changes(NamedTuple):
    """The lines of a lesson's file that are not in train.py, and the other way round.

    Attributes:
        added: indices of lines of the lesson.
        removed: lines of train.py by the index of the lesson's line that follows.
    """

    added: set[int]
    removed: dict[int, list[Line]]


def changes(half: str, lesson: str) -> Changes:
    """Return what a lesson changes in train.py; nothing if it extends none."""
    path = ROOT / half / f"{lesson}.py"
    base = parent(path)
    found = Changes(set(), {})
    if base is None:
        return found
    text = diff(path, "-U0")
    moved = moved_comments(text)
    pieces = re.split(HUNK, text)
    for start, size, piece in zip(
        pieces[1::3], pieces[2::3], pieces[3::3], strict=True
    ):
        lines = piece.splitlines()
        place = int(start) - 1 if size != "0" else int(start)
        new = [line[1:].strip() for line in lines if line.startswith("+")]
        found.added.update(n for n, one in enumerate(new, place) if one not in moved)
        old = [line[1:] for line in lines if line.startswith("-")]
        old = [line for line in old if line.strip() not in moved]
        if old:
            shown = plain_lines("\n".join(old))
            found.removed[place] = [line._replace(kind="removed") for line in shown]
    return found


def moved_comments(text: str) -> set[str]:
    """Return the comment lines that a diff both removes and adds, such as anchors."""
    old, new = (
        {line[1:].strip() for line in text.splitlines() if line.startswith(sign + " ")}
        for sign in "-+"
    )
    return {line for line in old & new if line.startswith("#")}


def marked(block: Block | None, html: list[str], changed: Changes) -> list[Line]:
    """Return the lines of a block, with those of train.py that are gone between them.

    What is gone right before the block belongs to the block above, unless the first
    line is new as well.
    """
    lines: list[Line] = []
    if block is None:
        return lines
    end = block.start + len(block.lines)
    for index, text in enumerate(block.lines, start=block.start):
        if index > block.start or index in changed.added:
            lines += changed.removed.get(index, [])
        beside = {index - 1, index + 1} & changed.added
        near = beside or {index, index + 1} & changed.removed.keys()
        kind = "added" if index in changed.added else "near" if near else ""
        is_anchor = bool(ANCHOR.match(text) or BANNER.match(text))
        lines.append(Line(text, html[index], kind, is_anchor))
    if end not in changed.added:
        lines += changed.removed.get(end, [])
    return lines


def is_changed(lines: list[Line]) -> bool:
    """Return whether a lesson changes one of these lines."""
    return any(line.kind in ("added", "removed") for line in lines)


@cache
def rows(lesson: str) -> list[Row]:
    """Return both files of a lesson in rows, from top to bottom."""
    sources = [(ROOT / half / f"{lesson}.py").read_text("utf-8") for half in HALVES]
    html = [highlight(source) for source in sources]
    changed = [changes(half, lesson) for half in HALVES]
    found: list[Row] = []
    for pair in aligned(*sources):
        first = pair[0] or pair[1]
        assert first
        is_anchor = bool(ANCHOR.match(first.lines[0]))
        lines = [marked(*both) for both in zip(pair, html, changed, strict=True)]
        name = unique(slug(first.name), [row.id for row in found])
        new = any(is_changed(half) for half in lines)
        found.append(Row(name, first.name, is_anchor, new, *lines))
    return found


def section(number: int, all_rows: list[Row]) -> list[Row]:
    """Return the rows of one of the three sections."""
    names = [row.name for row in all_rows]
    end = names.index(str(number + 1)) if str(number + 1) in names else len(names)
    return all_rows[names.index(str(number)) : end]


def is_folded(row: Row) -> bool:
    """Return whether a row is folded until somebody opens it."""
    return row.name == TOP
