"""The parts of the README that commands write, each between two lines of its own.

    <!-- NAME:begin -->
    <!-- NAME:end -->

A test compares `part` with what the command would write by now, and fails when it is
stale.
"""

from pathlib import Path

from shared.runtime.errors import UserError

README = Path(__file__).parents[2] / "README.md"


def part(name: str, readme: Path = README) -> str:
    """Return the text between the two lines of a part, without empty lines around it.

    Raises:
        UserError: a line of the two is missing, or there more than once.
    """
    _, inside, _ = split(name, readme)
    return inside.strip("\n")


def write_part(name: str, text: str, readme: Path = README) -> None:
    """Put a text between the two lines of a part, in the place of what is there.

    Raises:
        UserError: a line of the two is missing, or there more than once.
    """
    before, _, after = split(name, readme)
    stripped = text.strip("\n")
    readme.write_text(f"{before}{stripped}\n{after}", encoding="utf-8")


def split(name: str, readme: Path) -> tuple[str, str, str]:
    """Return the README up to a part's first line, the part, and from its last line."""
    begin, end = f"<!-- {name}:begin -->\n", f"<!-- {name}:end -->\n"
    before, found, rest = readme.read_text(encoding="utf-8").partition(begin)
    inside, found_end, after = rest.partition(end)
    if not (found and found_end) or begin in rest or end in before + after:
        lines = f"{begin.strip()} and, below it, {end.strip()}"
        raise UserError(f"{readme} needs these two lines, once each: {lines}")
    return before + begin, inside, end + after
