"""Every lesson is a pair of files; every lesson that trains is train.py plus an idea.

An anchor is an indented comment line of section 2, the loop, that begins with one or
two words and a period or a colon: `# Device.`, `# Data: one process downloads it.`
"""

import ast
import re
from pathlib import Path

import pytest

from compare.lessons.costs import HALVES, cost, diff, lessons, parent
from tests.processes import ROOT
from tests.repo.planted import CLIPPING, TRAIN, plant

FILES = [
    pytest.param(ROOT / half / f"{lesson}.py", id=f"{half}/{lesson}")
    for lesson in lessons()
    for half in HALVES
]
ANCHOR = r" +(# [A-Z][\w-]*( [\w-]+)?[.:].*)"


def banners(path: Path) -> list[str]:
    """Return the headings of a file, `# 1. The model: ...`, in order."""
    return re.findall(r"^# \d\. .+$", path.read_text(), re.MULTILINE)


def loop(path: Path) -> list[str]:
    """Return the lines of section 2."""
    (lines,) = re.findall(r"^# 2\. .*?^(?=# 3\. )", path.read_text(), re.M | re.S)
    return lines.splitlines()


def anchors(path: Path) -> list[str]:
    """Return the anchors of a lesson, in order."""
    return [match[1] for line in loop(path) if (match := re.fullmatch(ANCHOR, line))]


def share_kept(path: Path) -> float:
    """Return how much of train.py a lesson keeps, from 0 to 1."""
    train = parent(path)
    assert train
    return 1 - cost(path).removed / len(train.read_text().splitlines())


def changed_far_from_an_anchor(path: Path) -> list[str]:
    """Return the lines of train.py's loop that a lesson removes without saying why.

    It says why with an anchor of its own at most three lines away: one that is in the
    same part of a diff with three lines of context.
    """
    train = parent(path)
    assert train
    of_loop = loop(train)
    _, *parts = re.split(r"^@@ .*\n", diff(path, "-U3"), flags=re.MULTILINE)
    lines = [part.splitlines() for part in parts]
    return [
        line[1:]
        for part in lines
        if not any(re.fullmatch(r"\+" + ANCHOR, line) for line in part)
        for line in part
        if line.startswith("- ") and line[1:] in of_loop
    ]


def assert_mirrored(root: Path, lesson: str) -> None:
    """Fail unless both files of a lesson have the same banners and anchors."""
    plain, lightning = (root / half / f"{lesson}.py" for half in HALVES)
    assert [banner[2] for banner in banners(plain)] == ["1", "2", "3"]
    assert banners(lightning) == banners(plain)
    assert anchors(lightning) == anchors(plain)
    if parent(plain):
        assert anchors(plain), "no anchors"


def test_every_lesson_stands_in_both_halves_and_has_a_page() -> None:
    assert "train" in lessons()
    for folder in (ROOT / "lightning", ROOT / "plain_pytorch"):
        assert sorted(path.stem for path in folder.glob("[!_]*.py")) == lessons()
    pages = (ROOT / "compare" / "lessons").glob("*.md")
    assert {path.stem for path in pages} >= set(lessons())


@pytest.mark.parametrize("lesson", lessons())
def test_both_halves_have_the_same_banners_and_anchors(lesson: str) -> None:
    assert_mirrored(ROOT, lesson)


@pytest.mark.parametrize("path", FILES)
def test_a_banner_stands_right_above_what_it_names(path: Path) -> None:
    lines = path.read_text().splitlines()
    places = [index for index, line in enumerate(lines) if line in banners(path)]
    assert places
    for index in places:
        assert lines[index - 2 : index] == ["", ""]
        assert re.match(r"def |class |@|# |[A-Z]", lines[index + 1])


@pytest.mark.parametrize("path", FILES)
def test_a_lesson_that_trains_keeps_train(path: Path) -> None:
    """Its share and the changed lines are printed: `pytest -rP` shows them."""
    if parent(path) is None:
        return
    changed = "\n".join(["", *changed_far_from_an_anchor(path)])
    told = f"{path.parent.name}/{path.stem} keeps {share_kept(path):.0%} of train.py"
    told += f"; changed far from an anchor of its own:{changed}" if changed else ""
    print(told)
    assert share_kept(path) >= 0.8, told


def test_something_was_compared() -> None:
    variants = [path for path in FILES if parent(path.values[0])]  # type: ignore[arg-type]
    assert len(variants) > len(FILES) / 2
    assert len(anchors(ROOT / "plain_pytorch" / "train.py")) > 5


def test_a_planted_pair_is_mirrored(tmp_path: Path) -> None:
    plant(tmp_path)
    assert_mirrored(tmp_path, "train")
    assert_mirrored(tmp_path, "clipping")
    path = tmp_path / "lightning" / "clipping.py"
    assert anchors(path) == [
        "# Data.",
        "# Training: for every batch.",
        "# Clipping.",
        "# Checkpoints.",
    ]
    assert share_kept(path) == 1
    assert not changed_far_from_an_anchor(path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# 2. The loop: one", "# 2. The loop: a"),
        ("# 3. The run.", "# 4. The run."),
        ("    # Data.", "    # Images."),
        ("    # Data.\n", ""),
        ("    # Data.", "    # Images.\n    # Data."),
        ("# Training: for every batch.", "# Training: for a batch."),
    ],
)
def test_a_mirror_that_is_broken_is_noticed(tmp_path: Path, old: str, new: str) -> None:
    path = plant(tmp_path) / "lightning" / "clipping.py"
    assert old in CLIPPING
    path.write_text(CLIPPING.replace(old, new))
    with pytest.raises(AssertionError):
        assert_mirrored(tmp_path, "clipping")


@pytest.mark.parametrize(
    ("line", "is_anchor"),
    [
        ("    # Device.", True),
        ("        # Early stopping: no better loss.", True),
        ("    # Warm-up.", True),
        ("    # The Trainer calls eval.", False),
        ("    # The Trainer calls train; for every batch: step.", False),
        ("    # save_last=True would save the last epoch only.", False),
        ("    device = 1  # Device.", False),
    ],
)
def test_an_anchor_begins_with_one_or_two_words(line: str, is_anchor: bool) -> None:
    assert bool(re.fullmatch(ANCHOR, line)) == is_anchor


def test_a_lesson_that_strays_is_noticed(tmp_path: Path) -> None:
    text = CLIPPING.replace("loss = model.loss(batch)", "loss = model(batch)")
    text = text.replace("save(model)", "save(model.state_dict())")
    text = text.replace("loader = data.loader()", "loader = data.loader(2)")
    path = plant(tmp_path, straying=text) / "lightning" / "straying.py"
    assert share_kept(path) == 1 - 3 / len(TRAIN.splitlines())
    assert changed_far_from_an_anchor(path) == []
    path.write_text(text.replace("        # Clipping.\n", ""))
    assert changed_far_from_an_anchor(path) == [
        "    loader = data.loader()",
        "        loss = model.loss(batch)",
        "    save(model)",
    ]


def imported(path: Path) -> set[str]:
    """Return the names of all modules that a file imports, also inside functions.

    Of `from a import b` that is a.b as well, which may be a module.
    """
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{a.name}" for a in node.names)}
    return names


def reached(path: Path, root: Path = ROOT) -> set[str]:
    """Return what a file imports, and what the project's modules among them import."""
    names: set[str] = set()
    files = [path]
    while files:
        for name in imported(files.pop()) - names:
            names.add(name)
            module = root.joinpath(*name.split("."))
            found = (module.with_suffix(".py"), module / "__init__.py")
            files += [file for file in found if file.exists()]
    return names


LIGHTNING = {"lightning", "pytorch_lightning", "lightning_fabric"}


def assert_imports(names: set[str], forbidden: set[str]) -> None:
    """Fail if one of these names is a forbidden module, or lies in one."""
    wrong = {
        name for name in names for one in forbidden if f"{name}.".startswith(f"{one}.")
    }
    assert not wrong


@pytest.mark.parametrize(
    ("folder", "forbidden"),
    [
        ("shared", {"plain_pytorch", "lightning", "compare", "tests"}),
        ("plain_pytorch", {"plain_pytorch", "compare", "tests"}),
        ("lightning", {"plain_pytorch", "lightning", "compare", "tests"}),
        ("compare", {"tests"}),
    ],
)
def test_imports_go_up_only(folder: str, forbidden: set[str]) -> None:
    files = list((ROOT / folder).rglob("*.py"))
    assert files
    for path in files:
        assert_imports(imported(path), forbidden)


@pytest.mark.parametrize(
    "path", [path for path in FILES if "plain_pytorch" in str(path.id)]
)
def test_the_plain_half_never_reaches_lightning(path: Path) -> None:
    if path.stem == "under_the_hood":  # on purpose: it calls the other half's hooks
        assert "lightning.under_the_hood" in imported(path)
    else:
        assert_imports(reached(path), LIGHTNING)


def test_tools_for_other_environments_stand_alone() -> None:
    tools = {"compare.trace", "compare.divergence", "compare.legacy"}
    for tool in tools:
        files = list(ROOT.joinpath(*tool.split(".")).rglob("*.py"))
        assert files
        for path in files:
            ours = {"shared", "plain_pytorch", "lightning", "tests", "compare"}
            names = {
                name
                for name in imported(path)
                if name.startswith("compare.")
                and not any(f"{name}.".startswith(f"{one}.") for one in tools)
            }
            assert_imports(names, ours)
            assert_imports(imported(path), ours - {"compare"})


def test_what_a_module_reaches_is_found(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "first.py").write_text("from shared import second\n")
    (tmp_path / "shared" / "second.py").write_text(
        "def load():\n    from pytorch_lightning import Trainer\n"
    )
    lesson = tmp_path / "lesson.py"
    lesson.write_text("import shared.first\n")
    assert "pytorch_lightning" in reached(lesson, tmp_path)
    with pytest.raises(AssertionError):
        assert_imports(reached(lesson, tmp_path), LIGHTNING)
