"""The README's picture shows the train pair as it is."""

import xml.etree.ElementTree as ET

import pytest

from compare.lessons.picture import PICTURE, aligned, draw, picture


def test_the_picture_is_up_to_date() -> None:
    """When this fails: python -m compare.lessons.picture."""
    assert PICTURE.read_text() == picture()


def fit(*lines: str) -> str:
    return "\n".join(["def fit():", *lines, "\n\n# 3. The run."])


def test_anchors_stand_side_by_side() -> None:
    left = fit("    # Data.", "    one", "    two", "    # Device: where.")
    right = fit("  t = T(", "    # Data.", "    # Device: where.", "    x < 1")
    rows = aligned(left, right)
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


def test_other_anchors_are_an_error() -> None:
    with pytest.raises(ValueError, match="anchors differ"):
        aligned(fit("    # Data."), fit("    # Device."))
