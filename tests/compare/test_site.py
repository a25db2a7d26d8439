"""The site: its pages as files. What a browser makes of them: tests/browser."""

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib.metadata import distribution
from pathlib import Path

import pytest
from PIL import Image

from compare.divergence.causes import CAUSES as ALL_CAUSES
from compare.lessons.anchors import aligned, blocks
from compare.lessons.costs import HALVES, lessons
from compare.lessons.translations import NOTICES
from compare.site.card import CARD
from compare.site.card import digest as digest_of_card
from compare.site.code import highlight, rows
from compare.site.contents import CAUSES, SYMPTOMS, difference
from compare.site.names import all_names
from compare.site.plot import curves, ticks
from compare.site.stale import CLINIC, LESSONS, clinic_digest, digest, is_stale
from compare.site.text import markdown, source
from tests.processes import ROOT


class Page(HTMLParser):
    """The links, the ids and the parts of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.parts: list[str] = []
        self.ids: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(
        self, tag: str, attributes: list[tuple[str, str | None]]
    ) -> None:
        for name, value in attributes:
            if name == "id" and value:
                self.ids.append(value)
            elif name == "href" and tag == "a":
                self.links.append(value or "")
            elif name == "src" or (name == "href" and tag == "link"):
                self.parts.append(value or "")


def files_of(package: str) -> set[Path]:
    """Return where the files of a package and of all that it needs lie."""
    found = distribution(package)
    places = {
        Path(str(found.locate_file(path.parts[0])))
        for path in found.files or []
        if path.parts[0] not in ("..", "__pycache__")
    }
    for other in found.requires or []:
        if "extra ==" not in other:
            places |= files_of(re.split(r"[^\w-]", other)[0])
    return places


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site with the packages alone that the workflow installs."""
    workflow = (ROOT / ".github/workflows/pages.yml").read_text()
    packages = workflow.partition("-c requirements.txt ")[2].splitlines()[0].split()
    modules = tmp_path_factory.mktemp("modules")
    for place in set().union(*map(files_of, packages)):
        (modules / place.name).symlink_to(place)
    folder = tmp_path_factory.mktemp("site")
    subprocess.run(
        [sys.executable, "-S", "-m", "compare.site", "--output-dir", folder],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(modules)},
        check=True,
    )
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in sorted(site.rglob("*.html"))}


def test_every_lesson_and_every_case_has_a_page(site: Path) -> None:
    cases = json.loads(CLINIC.read_text())["cases"]
    assert len(cases) > 40
    for name in lessons():
        assert (site / f"{name}.html").exists()
    for name in cases:
        assert (site / "why" / f"{name}.html").exists()
    for name in ("index", "names", "why", "legacy", "speed"):
        assert (site / f"{name}.html").exists()


def test_pages_are_small(site: Path) -> None:
    sizes = {path: path.stat().st_size for path in site.rglob("*.html")}
    assert max(sizes.values()) < 300_000, max(sizes, key=lambda path: sizes[path])
    assert sizes[site / "index.html"] < 150_000


def test_links_lead_somewhere(site: Path, pages: dict[Path, Page]) -> None:
    count = 0
    for path, page in pages.items():
        assert len(page.ids) == len(set(page.ids)), path
        for link in page.links:
            if link.startswith("https://"):
                continue
            file, _, fragment = link.partition("#")
            target = (path.parent / file).resolve() if file else path
            assert target.is_relative_to(site.resolve()), (path, link)
            assert target in pages, (path, link)
            assert not fragment or fragment in pages[target].ids, (path, link)
            count += 1
    assert count > 1000


def test_all_parts_are_on_the_disk(pages: dict[Path, Page]) -> None:
    for path, page in pages.items():
        assert page.parts
        for part in page.parts:
            assert (path.parent / part).is_file(), (path, part)


def test_titles_tell_the_pages_apart(pages: dict[Path, Page]) -> None:
    heads = [path.read_text(encoding="utf-8").split("</head>")[0] for path in pages]
    titles = [re.findall("<title>(.*?)</title>", head) for head in heads]
    assert all(len(found) == 1 and len(found[0]) > 20 for found in titles)
    assert len({found[0] for found in titles}) == len(titles)
    assert all(re.search('name="description" content=".{30}', head) for head in heads)


@pytest.mark.parametrize("half", HALVES)
def test_the_columns_are_the_files(site: Path, half: str) -> None:
    html = (site / "clipping.html").read_text(encoding="utf-8")
    cells = "plain" if half == "plain_pytorch" else "lightning"
    found = re.findall(f'<code class="cell {cells}">(.*?)</code>', html, re.DOTALL)
    lines = re.findall(r'<span class="l([^"]*)".*?>(.*?)</span>', "".join(found))
    text = "\n".join(
        re.sub("<.*?>", "", line) for kind, line in lines if "removed" not in kind
    )
    text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    assert text + "\n" == (ROOT / half / "clipping.py").read_text()


def test_the_lines_that_a_lesson_adds_are_marked() -> None:
    added = [
        re.sub("<.*?>", "", line.html)
        for row in rows("clipping")
        for line in row.plain
        if line.kind == "added"
    ]
    assert any("clip_grad_norm_" in line for line in added)
    assert not any("loss.backward()" in line for line in added)
    assert not [row for row in rows("train") if row.changed]
    changed = {row.name for row in rows("clipping") if row.changed}
    assert "Clipping" in changed
    assert "Validation" not in changed


def test_a_result_belongs_to_the_code_of_its_lesson() -> None:
    """When this fails: make results, which runs the lessons that it names."""
    assert [lesson for lesson in lessons() if is_stale(lesson)] == []


def test_the_cases_are_those_of_the_clinic() -> None:
    """When this fails: make results."""
    found = json.loads(CLINIC.read_text())
    assert found["digest"] == clinic_digest()
    for case in found["cases"].values():
        assert case["quantity"] in SYMPTOMS
        assert case["sick"] != case["healthy"]
        assert "first differ" in case["printed"].partition(CAUSES)[0]
        assert "mistake" not in case["sick"] + case["healthy"]


def test_results_say_that_the_halves_are_equal() -> None:
    for lesson in lessons():
        found = json.loads((LESSONS / f"{lesson}.json").read_text())
        assert found["numbers"] > 0
        assert found["different"] == []
        assert found["output"].endswith("same")
    size = sum(path.stat().st_size for path in LESSONS.iterdir())
    assert size < 1_000_000


def test_comments_do_not_make_a_result_stale(tmp_path: Path) -> None:
    def digest_of(code: str) -> str:
        for half in HALVES:
            (tmp_path / half).mkdir(exist_ok=True)
            (tmp_path / half / "train.py").write_text(code)
        return digest("train", tmp_path)

    before = digest_of('"""One."""\n\nx = 1\n')
    assert digest_of('"""Two."""\n\n# A comment.\nx = 1\n') == before
    assert digest_of('"""One."""\n\nx = 2\n') != before


def test_the_cases_are_explained_in_the_words_of_today() -> None:
    """When this fails: make results."""
    causes = {cause.name: cause for cause in ALL_CAUSES}
    for case in json.loads(CLINIC.read_text())["cases"].values():
        printed = " ".join(case["printed"].split())
        for name in re.findall(r"\d\. ([a-z-]+): ", printed):
            assert causes[name].what in printed
            assert causes[name].advice in printed


def test_exercises_are_cases_of_the_clinic() -> None:
    sets = tomllib.loads((ROOT / "compare/site/exercises.toml").read_text())
    assert sets.keys() == set(lessons())
    cases = json.loads(CLINIC.read_text())["cases"]
    assert {name for names in sets.values() for name in names} <= cases.keys()


def test_a_name_stands_beside_the_lines_that_do_the_same() -> None:
    names = {one.name: one for one in all_names()}
    for one in names.values():
        assert any(row.plain for row in one.rows), one.name
        assert any(one.name in line.text for row in one.rows for line in row.lightning)

    log = names["self.log"]
    assert (log.lesson, log.rows[0].plain) == ("train", [])
    assert [line.text.strip() for line in log.rows[0].lightning] == [
        'self.log("train_loss", loss)'
    ]
    plain = [line.text for row in log.rows for line in row.plain]
    assert any('writer.add_scalar("val_loss"' in line for line in plain)
    assert not any("optimizer" in line for line in plain)


def test_all_that_names_ask_for_is_found() -> None:
    table = tomllib.loads((ROOT / "compare/site/names.toml").read_text())
    for lesson, names in table.items():
        ids = {f"#{row.id}" for row in rows(lesson)}
        plain = (ROOT / "plain_pytorch" / f"{lesson}.py").read_text()
        for wanted in (text for texts in names.values() for text in texts):
            assert wanted in ids or wanted in plain, (lesson, wanted)


def test_the_card_shows_the_page_as_it_is(site: Path) -> None:
    """When this fails: make card."""
    assert Image.open(CARD).info["digest"] == digest_of_card(site)


def test_every_language_has_all_words_and_links() -> None:
    languages = tomllib.loads((ROOT / "compare/site/languages.toml").read_text())
    assert {say["readme"] for say in languages.values()} == {"README.md", *NOTICES}
    english = languages["en"]

    def parts(words: str) -> list[str]:
        return sorted(re.findall(r'<\w+|href="[^"]*"|%s', words))

    for say in languages.values():
        assert say.keys() == english.keys()
        for key, words in say.items():
            assert parts(words) == parts(english[key]), words


def named(*names: str) -> str:
    return "\n".join(["# 2. The loop.", "def fit():", *names, "# 3. The run.", ""])


def test_blocks_answer_each_other() -> None:
    left = named("    # Data.", "    one", "    # Device: where.", "    # Mine.")
    right = named("    t = T(", "    # Data.", "    # Device: where.", "    x < 1")
    pairs = [
        tuple(block and (block.name, len(block.lines)) for block in pair)
        for pair in aligned(left, right)
    ]
    assert pairs == [
        (("2", 1), ("2", 1)),
        (("fit", 1), ("fit", 2)),
        (("Data", 2), ("Data", 1)),
        (("Device", 1), ("Device", 2)),
        (("Mine", 1), None),
        (("3", 1), ("3", 1)),
    ]


def test_blocks_are_named_after_what_they_define() -> None:
    source = (
        "import os\n\n\n@x\nclass A:\n    # It is why\n    def f():\n        def g():\n"
    )
    assert [(one.name, one.start) for one in blocks(source)] == [
        ("imports", 0),
        ("class A", 3),
        ("A.f", 5),
    ]


def texts(html: str) -> Iterator[str]:
    yield from re.findall(">([^<]+)<", f">{html}<")


def test_highlighting_keeps_every_character() -> None:
    for path in sorted((ROOT / "plain_pytorch").glob("*.py")):
        source = path.read_text()
        shown = ["".join(texts(line)) for line in highlight(source)]
        text = "\n".join(shown).replace("&lt;", "<").replace("&gt;", ">")
        assert text.replace("&amp;", "&") + "\n" == source


def test_markdown_links_to_pages_and_issues() -> None:
    html = markdown(
        "[a](clipping.md#traps) [b](../../shared/data.py) (Lightning: #5539,"
        " pytorch#25162)\n\n<!-- cog -->\n",
        "compare/lessons",
        ["clipping"],
    )
    assert '<a href="clipping.html#traps">a</a> b (' in html
    assert "pytorch-lightning/issues/5539" in html
    assert "pytorch/pytorch/issues/25162" in html
    assert "cog" not in html


def test_a_source_may_be_an_address_or_text() -> None:
    assert source("https://a.org/x") == '<a href="https://a.org/x">a.org/x</a>'
    assert source('test_x.py: "bad loss"') == "test_x.py: &quot;bad loss&quot;"


def test_a_mistake_is_shown_as_a_diff() -> None:
    lines = difference("a\nb\n", "a\nc\n")
    assert [(line.html, line.kind) for line in lines] == [
        ("a", ""),
        ("b", "removed"),
        ("c", "added"),
    ]


def test_equal_curves_lie_on_one_another() -> None:
    points = [[0.0, 1.0], [10.0, 0.5]]
    svg = curves("loss", {"by hand": points, "in Lightning": points})
    wide, thin = re.findall(r'<polyline class="\w+" points="(.*?)"', svg)
    assert wide == thin
    svg = curves("loss", {"by hand": points, "in Lightning": [[0, 1], [10, 0.6]]})
    wide, thin = re.findall(r'<polyline class="\w+" points="(.*?)"', svg)
    assert wide != thin


def test_ticks_are_round() -> None:
    assert ticks(0.0, 1.0) == [0.0, 0.5, 1.0]
    assert ticks(3, 198, 5) == [50, 100, 150]
    assert ticks(2.0, 2.0) == [2.0]
