"""The README's picture shows the train pair as it is."""

import xml.etree.ElementTree as ET

from compare.lessons.picture import PICTURE, draw, picture, rows_of_fit


def test_the_picture_is_up_to_date() -> None:
    """When this fails: python -m compare.lessons.picture."""
    assert PICTURE.read_text() == picture()


def fit(*lines: str) -> str:
    return "\n".join(["def fit():", *lines, "", "", "# 3. The run."])


def test_anchors_stand_side_by_side() -> None:
    left = fit("    # Data.", "    one", "    two", "    # Device: where.")
    right = fit("  t = T(", "    # Data.", "    # Device: where.", "    x < 1")
    rows = rows_of_fit(left, right)
    assert rows == [
        ("def fit():", "def fit():"),
        ("", "  t = T("),
        ("    # Data.", "    # Data."),
        ("    one", ""),
        ("    two", ""),
        ("    # Device: where.", "    # Device: where."),
        ("", "    x < 1"),
    ]
    assert "x < 1" in "".join(ET.fromstring(draw(rows)).itertext())


def test_what_one_half_has_alone_stands_alone() -> None:
    left, right = fit("    # Data.", "    # Mine."), fit("    # Data.")
    assert rows_of_fit(left, right)[-1] == ("    # Mine.", "")
