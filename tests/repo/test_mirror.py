"""Every lesson is a pair: one file name, the same banners, the same tags."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LESSONS = sorted(path.name for path in (ROOT / "plain_pytorch").glob("[!_]*.py"))


def banners(source: str) -> list[str]:
    """Return the headings of the sections, `# 1. What to learn: ...`, in order."""
    return re.findall(r"^# (\d\. .+)$", source, re.MULTILINE)


def tags(source: str) -> set[str]:
    """Return the tags, `[device]`, that stand in comments."""
    comments = re.findall(r"# (.*)$", source, re.MULTILINE)
    return {
        tag for comment in comments for tag in re.findall(r"\[([a-z_]+)\]", comment)
    }


def test_every_lesson_stands_in_both_wings() -> None:
    assert "train.py" in LESSONS
    assert (
        sorted(path.name for path in (ROOT / "lightning").glob("[!_]*.py")) == LESSONS
    )


@pytest.mark.parametrize("lesson", LESSONS)
def test_twins_have_the_same_banners(lesson: str) -> None:
    plain = banners((ROOT / "plain_pytorch" / lesson).read_text())
    assert [banner[0] for banner in plain] == ["1", "2", "3", "4"]
    assert banners((ROOT / "lightning" / lesson).read_text()) == plain


@pytest.mark.parametrize("lesson", LESSONS)
def test_twins_have_the_same_tags(lesson: str) -> None:
    plain = tags((ROOT / "plain_pytorch" / lesson).read_text())
    assert plain
    assert tags((ROOT / "lightning" / lesson).read_text()) == plain


@pytest.mark.parametrize("wing", ["plain_pytorch", "lightning"])
@pytest.mark.parametrize("lesson", LESSONS)
def test_a_banner_is_glued_to_what_it_names(wing: str, lesson: str) -> None:
    lines = (ROOT / wing / lesson).read_text().splitlines()
    places = [index for index, line in enumerate(lines) if re.match(r"# \d\. ", line)]
    assert places
    for index in places:
        assert lines[index - 2 : index] == ["", ""]
        assert re.match(r"def |class |@|# ", lines[index + 1])


def test_banners_and_tags_are_found() -> None:
    source = (
        '# 1. One: a "thing".\nx = [log]  # [step] and [zero_grad]\n## 2. not this\n'
    )
    assert banners(source) == ['1. One: a "thing".']
    assert tags(source) == {"step", "zero_grad"}


@pytest.mark.parametrize(
    ("folder", "forbidden"),
    [
        ("shared", {"plain_pytorch", "lightning", "compare", "pytorch_lightning"}),
        ("plain_pytorch", {"lightning", "compare", "pytorch_lightning"}),
        ("lightning", {"plain_pytorch", "compare"}),
    ],
)
def test_imports_go_up_only(folder: str, forbidden: set[str]) -> None:
    files = list((ROOT / folder).rglob("*.py"))
    assert files
    for path in files:
        imported = re.findall(r"^\s*(?:from|import) (\w+)", path.read_text(), re.M)
        wrong = forbidden & set(imported)
        if path == ROOT / "plain_pytorch" / "under_the_hood.py":
            # On purpose: it calls the hooks of the other wing's module by hand.
            assert wrong == {"lightning", "pytorch_lightning"}
        else:
            assert not wrong, path
