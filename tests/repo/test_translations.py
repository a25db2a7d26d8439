"""The translations of README.md: sections, code and links in step with it."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from compare.lessons import translations
from compare.lessons.translations import NOTICES, behind, faults, mark, renew, sections
from tests.processes import ROOT

README = (ROOT / "README.md").read_text("utf-8")
ENGLISH = """\
# A title

An introduction with `code` and [a link](one.md).

## Two commands

```console
$ make one  # first
```

Then the second:

```console
$ make two
```

![A picture](two.svg)

## The table

<!-- [[[cog
code
]]] -->
| [one](one.md) |
<!-- [[[end]]] -->
"""
NOTICE = "> Dieser Abschnitt ist veraltet."
GERMAN = """\
# Ein Titel
<!-- A title: 00000000 -->

Eine Einleitung mit [einem Link](one.md) und `code`.

## Zwei Befehle
<!-- Two commands: 00000000 -->

```console
$ make one  # first
```

Dann der zweite:

```console
$ make two
```

![Ein Bild](two.svg)

## Die Tabelle
<!-- The table: 00000000 -->

<!-- [[[cog
code
]]] -->
| [one](one.md) |
<!-- [[[end]]] -->
"""


@pytest.fixture
def german() -> str:
    """Return a translation that follows ENGLISH."""
    return renew(ENGLISH, GERMAN, ["A title", "Two commands", "The table"], NOTICE)


@pytest.mark.parametrize("file", NOTICES)
def test_a_translation_is_in_step(file: str) -> None:
    """When this fails: make translations."""
    text = (ROOT / file).read_text("utf-8")
    assert list(faults(README, text, NOTICES[file])) == []


@pytest.mark.parametrize("file", ["README.md", *NOTICES])
def test_each_readme_links_to_the_others_at_its_top(file: str) -> None:
    first = (ROOT / file).read_text("utf-8").splitlines()[0]
    others = {"README.md", *NOTICES} - {file}
    assert set(re.findall(r"\[[^]]+\]\((.*?)\)", first)) == others


def test_every_translation_is_tested() -> None:
    assert {path.name for path in ROOT.glob("README.*.md")} == {*NOTICES}


def test_a_translation_that_follows(german: str) -> None:
    assert behind(ENGLISH, german) == []
    assert list(faults(ENGLISH, german, NOTICE)) == []


def test_a_change_of_the_english_is_found(german: str) -> None:
    changed = ENGLISH.replace("Then the second:", "Then another:")
    assert behind(changed, german) == ["Two commands"]
    (fault,) = faults(changed, german, NOTICE)
    assert fault.startswith("Two commands: does not say that it is behind")
    assert NOTICE in fault


def test_line_breaks_and_generated_parts_do_not_count(german: str) -> None:
    wrapped = ENGLISH.replace("with `code` and", "with\n`code` and")
    longer = wrapped.replace("| [one](one.md) |\n", "| [one](one.md) |\n| two |\n")
    assert behind(longer, german) == []


def test_a_section_may_say_that_it_is_behind(german: str) -> None:
    changed = ENGLISH.replace("Then the second:", "Then another:")
    honest = german.replace("Dann der", f"{NOTICE}\n\nDann der")
    assert behind(changed, honest) == ["Two commands"]
    assert list(faults(changed, honest, NOTICE)) == []
    (fault,) = faults(ENGLISH, honest, NOTICE)
    assert fault == "Two commands: says that it is behind, and is not"


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("make one  # first", "make one  # erst"),
        ("(two.svg)", "(three.svg)"),
        ("[einem Link](one.md)", "einem Link"),
        ("`code`", "`Code`"),
        ("| [one](one.md) |", "| [one](two.md) |"),
    ],
)
def test_other_code_and_links_are_found(german: str, right: str, wrong: str) -> None:
    (fault,) = faults(ENGLISH, german.replace(right, wrong), NOTICE)
    assert "other code or links: " in fault


def test_code_blocks_in_another_order_are_found(german: str) -> None:
    swapped = german.replace("one  # first", "2").replace("two\n", "one  # first\n")
    (fault,) = faults(ENGLISH, swapped.replace("make 2", "make two"), NOTICE)
    assert fault == "Two commands: other code or links: the order"


@pytest.mark.parametrize(
    ("right", "wrong", "odd"),
    [
        ("# Ein Titel", "Ein Titel", "A title"),
        ("## Die Tabelle", "## Neu\n\n## Die Tabelle", "Neu"),
        ("<!-- The table", "<!-- The old table", "The table, The old table"),
        ("<!-- The table: ", "<!-- : ", "The table, Die Tabelle"),
    ],
)
def test_other_sections_are_found(
    german: str, right: str, wrong: str, odd: str
) -> None:
    first, *_ = faults(ENGLISH, german.replace(right, wrong), NOTICE)
    assert first == f"other sections: {odd}"


def test_renewing_takes_the_notice_away_from_the_named_section(german: str) -> None:
    changed = ENGLISH.replace("second:", "other:").replace("An intro", "The intro")
    honest = german.replace("Dann der", f"{NOTICE}\n\nDann der")
    renewed = renew(changed, honest, ["Two commands"], NOTICE)
    assert behind(changed, renewed) == ["A title"]
    assert NOTICE not in renewed
    section = sections(changed)["Two commands"]
    assert mark("Two commands", section) in renewed


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "compare.lessons.translations", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["README.ja.md", "Three commands"],
            "has no section 'Three commands'",
        ),
        (["README.ja.md"], "name one of ['Plain PyTorch"),
        (["README.fr.md", "Two commands"], "invalid choice: 'README.fr.md'"),
    ],
)
def test_a_wrong_name(arguments: list[str], message: str) -> None:
    process = run(*arguments)
    assert process.returncode == 2
    assert message in process.stderr
    assert "Traceback" not in process.stderr


def test_the_command_lists_and_renews(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in ("README.md", *NOTICES):
        shutil.copy(ROOT / file, tmp_path)
    monkeypatch.setattr(translations, "ROOT", tmp_path)
    english = tmp_path / "README.md"
    english.write_text(README.replace("You need Linux", "You want Linux"), "utf-8")

    def listed(*arguments: str) -> list[str]:
        monkeypatch.setattr(sys, "argv", ["translations", *arguments])
        translations.main()
        return capsys.readouterr().out.splitlines()

    assert [line.split(": ", 2)[:2] for line in listed()] == [
        [file, "Two commands"] for file in NOTICES for _ in range(2)
    ]
    for file in NOTICES:
        assert listed(file, "Two commands") == []
    assert listed() == []
