"""The parts of the README that commands write."""

from pathlib import Path

import pytest

from compare.bench.readme import part, write_part
from shared.runtime.errors import UserError

TEXT = """# Title
<!-- cost:begin -->
old
<!-- cost:end -->
between, with an umlaut: ü
<!-- speed:begin -->
<!-- speed:end -->
the end
"""


@pytest.fixture
def readme(tmp_path: Path) -> Path:
    path = tmp_path / "README.md"
    path.write_text(TEXT, encoding="utf-8")
    return path


def test_a_part_is_replaced_and_nothing_else(readme: Path) -> None:
    write_part("cost", "\n| a |\n\n| b |\n\n", readme)
    assert readme.read_text("utf-8") == TEXT.replace("old", "| a |\n\n| b |")
    assert part("cost", readme) == "| a |\n\n| b |"
    assert part("speed", readme) == ""
    write_part("cost", "old", readme)
    assert readme.read_text("utf-8") == TEXT
    write_part("speed", "new", readme)
    assert (part("cost", readme), part("speed", readme)) == ("old", "new")


@pytest.mark.parametrize(
    "text",
    [
        "",
        TEXT.replace("<!-- cost:end -->\n", ""),
        TEXT.replace("<!-- cost:begin -->\n", ""),
        TEXT + TEXT,
        TEXT + "<!-- cost:end -->\n",
        "<!-- cost:end -->\n<!-- cost:begin -->\n",
    ],
)
def test_two_lines_have_to_be_there_once(readme: Path, text: str) -> None:
    readme.write_text(text)
    for use in (lambda: part("cost", readme), lambda: write_part("cost", "x", readme)):
        with pytest.raises(UserError, match="<!-- cost:begin --> and, below it"):
            use()
    assert readme.read_text() == text
