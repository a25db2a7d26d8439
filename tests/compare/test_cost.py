"""What is counted in two small twins, where it can be counted by hand."""

import json
import re
import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from compare.cost import __main__ as command
from compare.cost.chart import draw_chart
from compare.cost.costs import Cost, measure
from compare.cost.report import as_table, as_tags
from compare.cost.source import read_source
from compare.readme import README, part, write_part
from shared.drawing import HEIGHT, WIDTH
from shared.errors import UserError
from tests.commands import ROOT
from tests.test_makefile import make

PLAIN = '''"""A loop."""

import torch
from tqdm import tqdm

LIMIT = 3
"""No docstring, and no code."""


class PlainModel(Model):
    """A model."""

    def training_step(self, batch):
        loss = self.loss(batch)
        return loss


def fit(model, loader):
    """Train."""
    model.cuda()  # [device]
    for epoch in range(LIMIT):  # [epochs]
        for batch in loader:
            loss = model.training_step(batch)
            require_finite("the loss", loss)
            total = total + loss  # [mean]
            optimizer.step()  # [step]
            if stop():
                break


def main():
    torch.manual_seed(1)  # [seed]
    model = PlainModel()
    data = Data()
    fit(model, data)


run("plain_pytorch", main)
'''
LIGHTNING = '''"""A Trainer."""

import pytorch_lightning as pl

LIMIT = 3


class LitModel(Model, pl.LightningModule):
    """A model."""

    def training_step(self, batch, batch_idx):
        loss = self.loss(batch)
        require_finite("the loss", loss, self.global_step)
        # Weighted by batch size.
        # [mean]
        self.log(
            loss,  # [log]
        )
        return loss

    def on_train_batch_end(self):
        if stop():
            exit()


# The Trainer steps [step].


def make_trainer():
    return Trainer(
        accelerator="cuda",  # [device]
        # [epochs] all of them
        max_epochs=LIMIT,
    )


def main():
    seed_everything(1)  # [seed]
    model = LitModel()
    data = LitData()
    make_trainer().fit(model, data)


run("lightning", main)
'''
FATES = {
    "LIMIT = 3": "stay",
    "class PlainModel(Model):": "stay",
    "def training_step(self, batch):": "stay",
    "loss = self.loss(batch)": "stay",
    "return loss": "stay",
    "def fit(model, loader):": "go",
    "model.cuda()": "go",
    "for epoch in range(LIMIT):": "go",
    "for batch in loader:": "go",
    "loss = model.training_step(batch)": "go",
    "require_finite('the loss', loss)": "move",  # the same text for a call
    "total = total + loss": "move",  # the same tag
    "optimizer.step()": "go",
    "if stop():": "move",  # the same statement
    "break": "go",
    "def main():": "stay",
    "torch.manual_seed(1)": "stay",  # the same tag
    "model = PlainModel()": "stay",
    "data = Data()": "stay",  # the same name
    "fit(model, data)": "go",
    "run('plain_pytorch', main)": "stay",
}
CHANGED = PLAIN.replace(
    "            optimizer.step()  # [step]\n",
    "            clip()  # [clip]\n" * 2 + "            optimizer.step()  # [step]\n",
)


def write(root: Path, lesson: str, plain: str, lightning: str) -> None:
    """Write a pair of twins."""
    for half, text in (("plain_pytorch", plain), ("lightning", lightning)):
        (root / half).mkdir(exist_ok=True)
        (root / half / f"{lesson}.py").write_text(text, encoding="utf-8")


@pytest.fixture
def cost(tmp_path: Path) -> Cost:
    write(tmp_path, "train", PLAIN, LIGHTNING)
    return measure(tmp_path)["train"]


@pytest.fixture(scope="module")
def real() -> dict[str, Cost]:
    return measure()


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    real: dict[str, Cost],
) -> Callable[..., str]:
    """Run the command on the real lessons, counted once; return what it prints."""
    monkeypatch.setattr(command, "measure", lambda: real)

    def run_command(*arguments: str) -> str:
        command.main([*arguments])
        return capsys.readouterr().out

    return run_command


# What a statement is.
@pytest.mark.parametrize(
    ("code", "count"),
    [
        ("", 0),
        ('"""Docstring."""\n\n# comment\nimport a, b\nfrom c import d', 0),
        ('def f():\n    """Docstring."""', 1),
        ("x: int = 1\n'a string'", 1),
        ("f(\n    1,\n\n    2,\n)", 1),
        ("a = 1; b = 2", 2),
        ("if a: b()", 2),
        ("if a:\n    b()\nelif c:\n    d()\nelse:\n    e()", 5),
        ("try:\n    a()\nexcept E:\n    b()\nelse:\n    c()\nfinally:\n    d()", 5),
        ("match a:\n    case 1:\n        b()\n    case _:\n        c()", 3),
        ("@decorator\nasync def f():\n    async with a as b:\n        await b", 3),
        ("class A(\n    B,\n):\n    x = [y for y in z]\n\n    def f(self): ...", 4),
        ("while a:\n    import b\n    continue", 2),
    ],
)
def test_statements_are_counted(tmp_path: Path, code: str, count: int) -> None:
    path = tmp_path / "code.py"
    path.write_text(code)
    assert len(read_source(path).statements) == count


@pytest.mark.parametrize("code", [b"def", b"\0", b"\xff", b"x = '\xff'", b"  x\n y"])
def test_what_is_not_python_is_named(tmp_path: Path, code: bytes) -> None:
    write(tmp_path, "train", "", "")
    (tmp_path / "lightning" / "train.py").write_bytes(code)
    with pytest.raises(UserError, match=r"lightning/train\.py is not Python: "):
        measure(tmp_path)


# What becomes of it.
def test_what_stays_moves_and_goes(cost: Cost) -> None:
    fates = {answer.statement.text.strip(): answer.fate for answer in cost.answers}
    assert fates == FATES
    assert cost.fates() == {"stay": 10, "move": 3, "go": 8}
    assert [half.statements for half in cost.halves.values()] == [21, 18]


def test_an_answer_is_where_it_is_said_to_be(cost: Cost) -> None:
    lines = LIGHTNING.splitlines()
    answers = {
        answer.statement.text: lines[answer.by.line - 1].strip()
        for answer in cost.answers
        if answer.by and answer.fate == "move"
    }
    assert answers == {
        "require_finite('the loss', loss)": (
            'require_finite("the loss", loss, self.global_step)'
        ),
        "total = total + loss": "self.log(",
        "if stop():": "if stop():",
    }


def test_a_statement_answers_one_at_most(tmp_path: Path) -> None:
    write(tmp_path, "train", "def f():\n    a()\n    a()", "def f():\n    a()")
    assert measure(tmp_path)["train"].fates() == {"stay": 2, "move": 0, "go": 1}


def test_the_most_alike_answers(tmp_path: Path) -> None:
    plain = "def g():\n    a(2)  # [t]"
    hook = "class A:\n    def f(self):\n        b(1)  # [t]\n        b(2)  # [t]"
    write(tmp_path, "train", plain, hook)
    answers = measure(tmp_path)["train"].answers
    assert [answer.by and answer.by.text for answer in answers] == [None, "b(2)"]


def test_an_argument_of_the_trainer_is_no_hook(tmp_path: Path) -> None:
    plain, tagged = "def fit():\n    a()  # [t]", "    return Trainer(\n  b,  # [t]\n)"
    write(tmp_path, "train", plain, f"def make():\n{tagged}")
    assert measure(tmp_path)["train"].fates()["go"] == 2
    method = "def f(self):\n    def g():\n     c()  # [t]"
    write(tmp_path, "train", plain, f"class A:\n  if b:\n   {method}")
    assert measure(tmp_path)["train"].fates() == {"stay": 0, "move": 1, "go": 1}


@pytest.mark.parametrize(
    ("plain", "lightning", "fate"),
    [
        ("stop = anywhere(device)", "stop = anywhere(self.device)", "move"),
        ("return test_loss", "return loss", "go"),
    ],
)
def test_what_is_nearly_the_same_moves(
    tmp_path: Path, plain: str, lightning: str, fate: str
) -> None:
    hook = f"class A:\n    def on_end(self):\n        {lightning}"
    write(tmp_path, "train", f"def fit():\n    {plain}", hook)
    assert measure(tmp_path)["train"].answers[1].fate == fate
    # Outside of a function, or into a function that is no method, nothing does.
    write(tmp_path, "train", plain.replace("return", "raise"), hook)
    assert measure(tmp_path)["train"].answers[0].fate == "go"
    write(tmp_path, "train", f"def fit():\n    {plain}", f"def a():\n    {lightning}")
    assert measure(tmp_path)["train"].answers[1].fate == "go"


def test_what_does_not_move(tmp_path: Path) -> None:
    """One word is the same everywhere; a hook is for what is done in a function."""
    plain = "def f():\n    try:\n        pass\n    finally:\n        pass\nrun('x')"
    body = "try:\n            pass\n        finally:\n            a.x('x')"
    hook = f"class A:\n    def g(self):\n        {body}"
    write(tmp_path, "train", plain, hook)
    assert measure(tmp_path)["train"].fates() == {"stay": 0, "move": 0, "go": 5}


def test_a_name_for_what_is_not_needed_is_none(tmp_path: Path) -> None:
    write(tmp_path, "train", "a, _ = b\nc, d = e", "f, _ = g\nh, d = i")
    assert measure(tmp_path)["train"].fates() == {"stay": 1, "move": 0, "go": 1}


# What a lesson adds to train.
def test_what_a_lesson_adds(tmp_path: Path) -> None:
    write(tmp_path, "train", PLAIN, LIGHTNING)
    write(tmp_path, "clip", CHANGED, LIGHTNING.replace("LIMIT = 3", "LIMIT = 4"))
    costs = measure(tmp_path)
    assert [half.added for half in costs["train"].halves.values()] == [0, 0]
    # One more of what train has once counts, too.
    more = CHANGED.replace("break", "break\n    model.cuda()")
    assert [half.added for half in costs["clip"].halves.values()] == [2, 1]
    write(tmp_path, "clip", more, LIGHTNING)
    halves = measure(tmp_path)["clip"].halves
    assert [half.added for half in halves.values()] == [3, 0]


def test_what_a_lesson_borrows(tmp_path: Path) -> None:
    write(tmp_path, "train", PLAIN, LIGHTNING)
    write(
        tmp_path,
        "more",
        "from tqdm import tqdm\nfrom plain_pytorch.train import PlainModel, fit\nfit()",
        "from lightning import train\n\nclass LitMore(train.LitModel):\n    pass",
    )
    plain, lightning = measure(tmp_path)["more"].halves.values()
    # A class of 4, a function of 10, and the constant that it uses.
    assert plain.imports == {"plain_pytorch.train": ["PlainModel", "fit"]}
    assert lightning.imports == {"lightning.train": ["LitModel"]}
    assert (plain.statements, plain.added, plain.borrowed) == (1, 1, 15)
    assert (lightning.statements, lightning.added, lightning.borrowed) == (2, 2, 9)


def test_a_borrowed_hook_answers_but_not_by_its_tag(tmp_path: Path) -> None:
    write(tmp_path, "train", PLAIN, LIGHTNING)
    write(tmp_path, "more", PLAIN, "from lightning.train import LitModel")
    answers = measure(tmp_path)["more"].answers
    moved = [answer.statement.text for answer in answers if answer.fate == "move"]
    assert moved == ["require_finite('the loss', loss)", "if stop():"]


def test_what_is_borrowed_of_what_is_borrowed(tmp_path: Path) -> None:
    write(tmp_path, "train", "def f():\n    f()\n\nx, y = 1, 2", LIGHTNING)
    again = "from lightning.train import LitModel\nclass LitOwn(LitModel):\n    pass"
    write(tmp_path, "own", "from plain_pytorch.train import f, x, y", again)
    third = "from lightning.own import LitOwn, no_such_name"
    write(tmp_path, "third", "from plain_pytorch.none import f", third)
    costs = measure(tmp_path)
    assert [half.borrowed for half in costs["own"].halves.values()] == [3, 9]
    assert [half.borrowed for half in costs["third"].halves.values()] == [0, 11]


# Tags.
def test_the_lines_of_a_tag(cost: Cost) -> None:
    assert list(cost.tags) == ["device", "epochs", "mean", "step", "seed", "log"]
    assert cost.tags["mean"] == {
        "plain_pytorch": {25: "total = total + loss  # [mean]"},
        "lightning": {15: "# [mean]"},
    }
    assert cost.tags["log"] == {
        "plain_pytorch": {},
        "lightning": {17: "loss,  # [log]"},
    }
    rows = as_tags(cost).splitlines()
    (row,) = [row for row in rows if row.startswith("[epochs]")]
    assert "21: for epoch in range(LIMIT):  # [epochs]" in row
    assert row.endswith("32: # [epochs] all of them")


def test_whose_a_tag_is(tmp_path: Path) -> None:
    path = tmp_path / "code.py"
    path.write_text(
        "# [none] above an empty line\n\n"
        "# [a] [b]\n# [c]\n@wrap  # [d]\ndef f(  # [e]\n    x,  # [f]\n):\n"
        "    # [g]\n    g(  # type: ignore[no]\n"
        "        # [h]\n        '# [no]',\n    )  # [i]\n"
        "    if x:  # [j]\n        y = [log]  # [k]\n    else:  # [l]\n        pass\n"
        "    # [none]\n",
        encoding="utf-8-sig",
    )
    statements = read_source(path).statements
    tags = {one.text.strip().splitlines()[-1]: one.tags for one in statements}
    assert tags == {
        "def f(x):": {*"abcdef"},
        "g('# [no]')": {*"ghi"},
        "if x:": {"j", "l"},
        "y = [log]": {"k"},
        "pass": set(),
    }


# Lessons.
def test_lessons_are_found_in_both_halves(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no lesson train"):
        measure(tmp_path)
    for lesson in ("zoo", "train", "_private", "__init__", "art"):
        write(tmp_path, lesson, PLAIN, LIGHTNING)
    (tmp_path / "plain_pytorch" / "alone.py").touch()
    assert [*measure(tmp_path)] == ["train", "art", "zoo"]


def test_the_real_lessons_are_as_a_reader_sees_them(real: dict[str, Cost]) -> None:
    assert {*real} == {path.stem for path in (ROOT / "lightning").glob("[!_]*.py")}
    for cost in real.values():
        assert sum(cost.fates().values()) == cost.halves["plain_pytorch"].statements
        assert all(cost.fates().values())
        assert all(lines for halves in cost.tags.values() for lines in halves.values())
    fates = {answer.statement.text: answer.fate for answer in real["train"].answers}
    assert fates["images, _ = batch"] == "stay"
    assert fates["data = MNISTData(config)"] == "stay"
    assert fates["require_finite('validation loss', val_loss, global_step)"] == "move"
    assert fates["optimizer.zero_grad()"] == "go"


def test_the_table_of_the_readme_is_fresh(real: dict[str, Cost]) -> None:
    fresh = part("cost") == as_table(real, "github")
    assert fresh, "README.md is stale: make cost ARGS=--readme"


# The command.
def test_the_command_prints_a_row_for_each_lesson(run: Callable[..., str]) -> None:
    _, line, *rows = run().splitlines()
    assert set(line) == {"-", " "}
    numbers = [[int(cell) for cell in row.split()[1:]] for row in rows]
    assert [sum(column) for column in zip(*numbers[:-1], strict=True)] == numbers[-1]
    assert [row.split()[0] for row in rows][:: len(rows) - 1] == ["train", "all"]


def test_json_has_every_statement_and_tag(run: Callable[..., str]) -> None:
    train = json.loads(run("--json"))["train"]
    plain = train["plain_pytorch"]
    assert plain["statements"] == len(train["answers"])
    assert plain["statements"] == train["stay"] + train["move"] + train["go"]
    lines = (ROOT / "plain_pytorch" / "train.py").read_text().splitlines()
    (step,) = [one for one in train["answers"] if one["code"] == "optimizer.step()"]
    assert lines[step["line"] - 1].strip().startswith("optimizer.step()")
    assert (step["fate"], step["answered_by"]) == ("go", None)
    assert train["answers"][0]["answered_by"]["file"] == "lightning/train.py"
    for one in train["tags"]["device"]["plain_pytorch"]:
        assert lines[one["line"] - 1].strip() == one["code"]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ("--tags typo", 2, "error: no lesson typo: try one of train, callbacks"),
        ("--plot cost.pdf", 2, "error: --plot cost.pdf: name a file that ends in"),
        ("--plot README.md/cost.png", 1, "error: [Errno"),
        ("--tags", 2, "usage: "),
        ("--json --readme", 2, "usage: "),
        ("--jso", 2, "usage: "),
    ],
)
def test_a_command_line_that_cannot_be(
    run: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: str,
    status: int,
    message: str,
) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit) as end:
        run(*arguments.split())
    assert end.value.code == status
    assert capsys.readouterr().err.startswith(message)


def test_the_commands_of_the_readme(run: Callable[..., str], tmp_path: Path) -> None:
    lines = re.findall(r"^\$ make cost(?: ARGS=(.+))?$", README.read_text(), re.M)
    assert len(lines) == 3
    plot = tmp_path / "cost.png"
    for line in lines:
        (arguments,) = shlex.split(line) or [""]
        assert run(*arguments.replace("output/cost.png", str(plot)).split())
    with Image.open(plot) as image:
        assert (image.format, image.size) == ("PNG", (WIDTH, HEIGHT))
    if (ROOT / ".venv" / ".ready").exists():
        assert make(ROOT, "cost").stdout == run()


def test_the_readme_is_written(
    run: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    real: dict[str, Cost],
) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(README.read_text().replace(part("cost"), "stale"))
    monkeypatch.setattr(command, "write_part", partial(write_part, readme=readme))
    run("--readme")
    assert part("cost", readme) == as_table(real, "github")


def test_the_chart_shows_the_numbers(cost: Cost) -> None:
    figure = draw_chart({"train": cost, "again": cost})
    (axes,) = figure.axes
    widths = [bar.get_width() for bar in axes.patches]  # type: ignore[attr-defined]
    assert widths == [10, 10, 3, 3, 8, 8, 18, 18]
    starts = [bar.get_x() for bar in axes.patches]  # type: ignore[attr-defined]
    assert starts == [0, 0, 10, 10, 13, 13, 0, 0]
    assert [text.get_text() for text in axes.texts] == ["21", "21", "18", "18"]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["train", "again"]
