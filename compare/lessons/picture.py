"""Draw both `fit` functions of `train` side by side, aligned anchor by anchor.

    python -m compare.lessons.picture

renews compare/lessons/train.svg, which the README shows.
"""

from html import escape
from itertools import zip_longest
from pathlib import Path

from pygments import lex
from pygments.lexers.python import PythonLexer
from pygments.styles import get_style_by_name

from compare.lessons.anchors import ANCHOR, Block, aligned

ROOT = Path(__file__).parents[2]
PICTURE = Path(__file__).with_name("train.svg")
HALVES = ("plain_pytorch", "lightning")
LINE_HEIGHT, COLUMN_WIDTH, MARGIN = 18, 650, 16


def rows_of_fit(left: str, right: str) -> list[tuple[str, str]]:
    """Return the lines of both `fit` in pairs, with equal anchors side by side."""
    found: list[tuple[str, str]] = []
    inside = False
    for one, other in aligned(left, right):
        name = one.name if one else ""
        inside = name == "fit" or (inside and name != "3")
        if inside:
            found += zip_longest(lines(one), lines(other), fillvalue="")
    return found


def lines(block: Block | None) -> list[str]:
    """Return the lines of a block without blank lines at its end."""
    return "\n".join(block.lines if block else []).rstrip().splitlines()


def spans(line: str) -> str:
    """Return a line of Python as SVG text with colors."""
    style = get_style_by_name("default")
    return "".join(
        f'<tspan fill="#{style.style_for_token(kind)["color"] or "24292f"}">'
        f"{escape(text)}</tspan>"
        for kind, text in lex(line, PythonLexer(stripnl=False, ensurenl=False))
    )


def draw(rows: list[tuple[str, str]]) -> str:
    """Return an SVG picture of two columns of code."""
    width = 2 * COLUMN_WIDTH + 3 * MARGIN
    height = (len(rows) + 2) * LINE_HEIGHT + MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
        ' font-family="ui-monospace, Menlo, Consolas, monospace" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for column, half in enumerate(HALVES):
        x = MARGIN + column * (COLUMN_WIDTH + MARGIN)
        parts.append(
            f'<text x="{x}" y="{LINE_HEIGHT}" font-weight="bold">{half}/train.py</text>'
        )
        for number, row in enumerate(rows):
            if not row[column].strip():
                continue
            y = (number + 2.5) * LINE_HEIGHT
            if ANCHOR.match(row[column]):
                parts.append(
                    f'<rect x="{x - 4}" y="{y - 13}" width="{COLUMN_WIDTH}"'
                    f' height="{LINE_HEIGHT}" fill="#eef4ff"/>'
                )
            parts.append(
                f'<text x="{x}" y="{y}" xml:space="preserve">'
                f"{spans(row[column])}</text>"
            )
    return "\n".join([*parts, "</svg>", ""])


def picture() -> str:
    """Return the picture of the `train` pair as it is now."""
    sources = ((ROOT / half / "train.py").read_text() for half in HALVES)
    return draw(rows_of_fit(*sources))


if __name__ == "__main__":
    PICTURE.write_text(picture())
    print(PICTURE)
