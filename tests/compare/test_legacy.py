"""The command compare.legacy reads what people have, and says so in their terms."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from compare.legacy.__main__ import main
from compare.legacy.rules import Finding
from compare.legacy.search import search
from tests.processes import ROOT, run
from tests.repo.test_makefile import make

OLD = "import pytorch_lightning as pl\ntrainer = pl.Trainer(gpus=1)\n"
GPUS = "Trainer(gpus=...)"
Write = Callable[..., list[Finding]]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file and return what is found in it."""

    def write_and_search(text: str | bytes, name: str = "tutorial.md") -> list[Finding]:
        data = text.encode() if isinstance(text, str) else text
        (tmp_path / name).write_bytes(data)
        return search(tmp_path / name)

    return write_and_search


def lines(findings: list[Finding]) -> list[tuple[int, str]]:
    return [(finding.line, finding.found) for finding in findings]


# Names.
@pytest.mark.parametrize(
    "code",
    [
        "import pytorch_lightning\npytorch_lightning.Trainer(gpus=1)",
        "import lightning as L\nL.Trainer(gpus=1)",
        "import lightning.pytorch as pl\npl.Trainer(gpus=1)",
        "from lightning import Trainer\nTrainer(gpus=1)",
        "from pytorch_lightning import Trainer as T\nT(gpus=1)",
        "from pytorch_lightning.trainer.trainer import Trainer\nTrainer(gpus=1)",
        "from pytorch_lightning import *\nTrainer(gpus=1)",
        "import lightning as L\nclass Mine(L.Trainer): pass\nMine(gpus=1)",
        "import lightning as L\nMine = L.Trainer\nMine(gpus=1)",
        "import lightning as L\noptions = dict(gpus=1)\nL.Trainer(**options)",
        "import lightning as L\nL.Trainer(**{'gpus': 1})",
        "import lightning as L\ndef f():\n    async def g(): return L.Trainer(gpus=1)",
    ],
)
def test_lightning_under_all_its_names(write: Write, code: str) -> None:
    assert [f.found for f in write(code, "code.py")] == [GPUS]


@pytest.mark.parametrize(
    "code",
    [
        "from transformers import Trainer\nTrainer(gpus=1)",
        "from transformers import *\nTrainer(gpus=1)",
        "import polars as pl\npl.Trainer(gpus=1)",
        "from sklearn.svm import SVC\nSVC().fit(train_dataloader=1)",
        "class Trainer: pass\nTrainer(gpus=1)",
        "class Mine(pl.Trainer):\n    def __init__(self, gpus): pass\nMine(gpus=1)",
        "from keras.callbacks import Callback\n"
        "class X(Callback):\n    def on_epoch_end(self, epoch, logs): pass",
        "def fit(trainer: 'x'):\n    gpus = trainer.fit(1)",
        "self.hparams = 1",
        "class Agent: pass\nAgent().trainer.gpus",
        "from sklearn.svm import SVC\nclass X(SVC):\n    def training_step(self): pass",
        "class X(pl.strategies.DDPStrategy):\n    def training_step_end(self, x): pass",
        "class X(nn.Module):\n    def training_epoch_end(self, outputs): pass",
    ],
)
def test_unrelated_code_is_left_alone(write: Write, code: str) -> None:
    assert write("import pytorch_lightning as pl\nfrom torch import nn\n" + code) == []
    assert write(f"```python\n{code}\n```\nNot Lightning's.\n") == []


def test_code_without_lightning_is_left_alone(write: Write) -> None:
    code = "trainer = Trainer(gpus=1)\ntrainer.tune(model)\n"
    assert write(code, "code.py") == []
    assert write(f"```python\n{code}```") == []
    assert write(f'"""Like in Lightning."""\nimport mine\n{code}', "code.py") == []


def test_objects_are_followed(write: Write) -> None:
    code = """
import lightning as L
class Model(L.LightningModule):
    def training_step(self, batch, batch_idx):
        return self.trainer.use_amp
class Deeper(Model):
    def on_epoch_end(self): pass
class Mine(L.Callback):
    def on_fit_start(self, trainer, pl_module):
        trainer.gpus, pl_module.trainer.root_gpu
class Runner:
    def __init__(self): self.runner = L.Trainer()
    def run(self, other: L.Trainer):
        self.runner.fit(Model(), train_dataloader=1)
        other.tune()
class FromElsewhere(Base):
    def training_step(self, batch, batch_idx, optimizer_idx): pass
"""
    assert [f.line for f in write(code, "code.py")] == [5, 7, 10, 10, 14, 15, 17]


def test_what_is_old_on_purpose(write: Write) -> None:
    mark = "  # legacy: on purpose"
    code = f"""
import lightning as L
class Old(L.LightningModule):{mark}
    def on_epoch_end(self): pass
L.Trainer(gpus=1){mark}
L.Trainer(gpus=1)
"""
    assert lines(write(code, "code.py")) == [(6, GPUS)]


# Texts and notebooks.
def test_fences(write: Write) -> None:
    text = """About Lightning
```python
Trainer(gpus=1)
```
1. In a list:
   ```{python}
   Trainer(gpus=1)
   ```
- ~~~ {.python .numberLines}
  Trainer(gpus=1)
  ~~~
````py title="x"
'''
```
'''
Trainer(gpus=1)
````
```
trainer = Trainer(gpus=1)
```
```bash
Trainer(gpus=1)
```
```pycon
>>> Trainer(
...     gpus=1)
<Trainer>
```
``` not a fence ```
Trainer(gpus=1)
~~~Python
Trainer(gpus=1)"""
    found = write(text.replace("pycon", "python"))
    assert lines(found) == [(n, GPUS) for n in (3, 7, 10, 16, 19, 26, 32)]


def test_blocks_share_their_names(write: Write) -> None:
    text = "```python\nfrom {} import Trainer\n```\n```python\nTrainer(gpus=1)\n```\n"
    assert lines(write(text.format("lightning"))) == [(5, GPUS)]
    assert write(text.format("transformers") + "Unlike Lightning") == []


def notebook(cells: list[tuple[str, list[str]]], **options: int) -> str:
    made = [
        {"cell_type": kind, "metadata": {}, "outputs": [["\n"]], "source": source}
        for kind, source in cells
    ]
    return json.dumps({"cells": made, "nbformat": 4}, **options)  # type: ignore[arg-type]


def test_notebooks(write: Write) -> None:
    code = ["%matplotlib inline\n", "!pip install x\n", *OLD.splitlines(True)]
    text = notebook(
        [
            (
                "markdown",
                ["# Lightning é\n", "```python\n", "Trainer(gpus=1)\n", "```"],
            ),
            ("code", ["%%bash\n", "Trainer(gpus=1)"]),
            ("code", code),
            ("code", ["%%time\n", "trainer.tune(model)"]),
            ("raw", code),
        ],
        indent=1,
    )
    numbers = [n for n, line in enumerate(text.split("\n"), 1) if "(gpus=1)" in line]
    tune = next(n for n, line in enumerate(text.split("\n"), 1) if "tune(" in line)
    found = lines(write(text, "notebook.ipynb"))
    assert found == [(numbers[0], GPUS), (numbers[2], GPUS), (tune, "Trainer.tune")]
    as_strings = notebook([("code", OLD)])  # type: ignore[list-item]
    assert lines(write(as_strings, "notebook.ipynb")) == [(1, GPUS)]
    old = {"worksheets": [{"cells": [{"cell_type": "code", "input": [OLD]}]}]}
    assert lines(write(json.dumps(old), "notebook.ipynb")) == [(1, GPUS)]


# Code that is not valid.
PIECES = {
    "a class without its header": """
    def training_epoch_end(self, outputs):
        pass
    def f(self): return 1
""",
    "and with uneven indentation": """
    def f(self):
        return 1
   def training_epoch_end(self, outputs):
       return 2
""",
    "tabs and spaces": """
class A(pl.LightningModule):
\tdef f(self):
        pass
\tdef training_epoch_end(self, outputs):
\t\tpass
""",
    "comments at will": """
# A class:

  # its method
    def f(self, x,
            y):
        return 1
        # and
      def training_epoch_end(self, outputs):
          return 2
""",
    "Python 2": """
class A(pl.LightningModule):
    def f(self):
        print "epoch"
    def training_epoch_end(self, outputs):
        print "end"
""",
    "no colon": """
class A(pl.LightningModule)
    def training_epoch_end(self, outputs)
        return <something>
""",
    "no body": """
class A(pl.LightningModule):
    def f(self):

    def training_epoch_end(self, outputs):
""",
    "an outline": """
class A(pl.LightningModule):
    ...
    def f(self, x, ...):
        x = [1, 2, …]
    def training_epoch_end(self, ...): ...
""",
}


@pytest.mark.parametrize("code", PIECES.values(), ids=PIECES)
def test_a_hook_in_code_that_is_not_valid(write: Write, code: str) -> None:
    code = code.removeprefix("\n")
    text = f"Lightning\n```python\n{code}```\n"
    where = 1 + text.split("training_epoch_end")[0].count("\n")
    found = write(text)
    assert (where, "def training_epoch_end in a LightningModule") in lines(found)
    valid = "\n" + code == PIECES["a class without its header"]
    assert valid != any("does not parse" in finding.found for finding in found)


@pytest.mark.parametrize(
    "code",
    [
        "Trainer(max_epochs=1, gpus=1, ...)",
        "Trainer(\n    max_epochs=1,\n    gpus=1,\n    ...\n)",
        "Trainer(\n    max_epochs=<N>,\n    gpus=1,\n)",
        "Trainer(gpus=1, max_epochs=<N>)",
        "trainer = Trainer(gpus=1,\n                  max_epochs=3\ntrainer.fit(model)",
        "x = “a”\nTrainer(gpus=1, logger=“b”)",
        "if ok:\n    print 'x'\nelse\n    trainer = Trainer(gpus=1)",
        'Here you see it: "\nTrainer(gpus=1)',
        "x = 1\n    y = 2\n  Trainer(gpus=1)",
        "\n".join(["x y z ="] * 300 + ["Trainer(gpus=1)"]),
    ],
)
def test_a_call_in_code_that_is_not_valid(write: Write, code: str) -> None:
    found = write(f"Lightning\n```python\n{code}\n```\n")
    where = next(n for n, x in enumerate(code.split("\n"), 3) if "gpus" in x)
    assert (where, GPUS) in lines(found)
    (error,) = [f for f in found if "does not parse" in f.found]
    assert error.effect == "raises"
    assert 3 <= error.line <= 3 + code.count("\n")


def test_prose_and_shell_are_not_python(write: Write) -> None:
    text = "Lightning\n```\n$ pip install x\n```\n```yaml\ngpus: 1\n```\n"
    assert write(text) == []


# The command.
def test_the_quietest_come_first(tmp_path: Path) -> None:
    code = "\n".join(
        [
            *OLD.splitlines(),
            "pl.Trainer(precision=16)",
            "class A(pl.LightningModule):\n    def on_epoch_end(self): pass",
        ]
    )
    (tmp_path / "a.py").write_text(code)
    (tmp_path / "b.md").write_text(f"```python\n{code}\n```")
    status, out, _ = run("compare.legacy", str(tmp_path), str(tmp_path / "a.py"))
    assert status == 1
    assert out.splitlines()[0] == "Ignored silently:"
    assert f"{tmp_path}/a.py:5: def on_epoch_end in a LightningModule, since 1.8" in out
    assert "    now: on_train_epoch_end, on_validation_epoch_end" in out
    assert out.splitlines()[-1] == "6 found"
    status, out, _ = run("compare.legacy", "--json", str(tmp_path))
    assert status == 1
    found = json.loads(out)
    effects = ["ignored"] * 2 + ["warns"] * 2 + ["raises"] * 2
    assert [finding["effect"] for finding in found] == effects
    assert found[-1] == {
        "file": str(tmp_path / "b.md"),
        "line": 3,
        "found": GPUS,
        "now": 'accelerator="gpu", devices=...',
        "since": "2.0",
        "effect": "raises",
    }


def test_nothing_is_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trap = tmp_path / "trap"
    code = f"import lightning\nopen({str(trap)!r}, 'w')\nraise SystemExit(7)\n"
    (tmp_path / "code.py").write_text(code)
    assert main([str(tmp_path)]) == 0
    assert not trap.exists()
    assert capsys.readouterr().out == "nothing found\n"
    assert main(["--json", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "[]\n"


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("huge.py", b"#" * 10_000_001, "more than 10 MB"),
        ("long.py", b"# 3456789\n" * 100_001, "more than 1 MB of code"),
        ("binary.py", b"\x7fELF\0\0", "binary"),
        ("latin.py", b"x = '\xe9'", "not UTF-8"),
        ("cookie.py", b"# coding: no-such\n", "not UTF-8"),
        ("empty.ipynb", b"", "not a notebook"),
        ("list.ipynb", b"[1]", "not a notebook"),
        ("cells.ipynb", b'{"cells": [1]}', "not a notebook"),
        ("deep.ipynb", b"[" * 100_000, "not a notebook"),
        ("picture.png", b"x", "not one of .ipynb"),
    ],
)
def test_unusable_input(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    data: bytes,
    said: str,
) -> None:
    (tmp_path / name).write_bytes(data)
    (tmp_path / "old.py").write_text(OLD)
    assert main([str(tmp_path / name), str(tmp_path / "old.py")]) == 2
    out, error = capsys.readouterr()
    assert error.startswith(f"error: {tmp_path / name}: ")
    assert said in error
    assert error.count("\n") == 1
    assert GPUS in out


def test_a_file_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nowhere.py"]) == 2
    assert capsys.readouterr() == (
        "",
        "error: nowhere.py: No such file or directory\n",
    )


@pytest.mark.parametrize(
    "code",
    ["x = " + "(" * 5000, "x = 1" + " + 1" * 50_000, "a" + ".b" * 50_000],
)
def test_deep_code_ends_in_one_line(write: Write, tmp_path: Path, code: str) -> None:
    (tmp_path / "deep.py").write_text("import lightning\n" + code)
    assert main([str(tmp_path)]) in (0, 1, 2)


def test_a_large_broken_file_takes_seconds(write: Write) -> None:
    before = time.perf_counter()
    found = write("import lightning\n" + "if (x = [ 1\n" * 1500 + OLD, "broken.py")
    assert (1503, GPUS) in lines(found)
    assert time.perf_counter() - before < 30


def test_encodings_and_line_ends(write: Write) -> None:
    old = OLD.replace("\n", "\r\n").encode()
    assert lines(write(b"\xef\xbb\xbf" + old, "code.py")) == [(2, GPUS)]
    latin = b"# coding: latin-1\n# \xe9\r" + OLD.encode()
    assert lines(write(latin, "code.py")) == [(4, GPUS)]
    assert lines(write(OLD.replace("\n", "\n\f\n"), "code.py")) == [(3, GPUS)]


def test_folders_are_searched_without_packages(tmp_path: Path) -> None:
    for name in (".git", "node_modules", "env/lib"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "old.py").write_text(OLD)
    (tmp_path / "env" / "pyvenv.cfg").touch()
    (tmp_path / "data.csv").write_text(OLD)
    assert main([str(tmp_path)]) == 0


# This project.
def test_our_own_code_is_not_old(capsys: pytest.CaptureFixture[str]) -> None:
    folders = ("lightning", "plain_pytorch", "shared", "README.md")
    assert main([str(ROOT / folder) for folder in folders]) == 0, capsys.readouterr()


def test_the_command_of_the_readme(tmp_path: Path) -> None:
    (tmp_path / "my_tutorial.md").write_text(f"```python\n{OLD}```\n")
    (tmp_path / "my_notebook.ipynb").write_text(notebook([("code", [OLD])]))
    paths = [str(tmp_path / name) for name in ("my_tutorial.md", "my_notebook.ipynb")]
    status, out, error = run("compare.legacy", *paths)
    assert (status, error, out.count(GPUS)) == (1, "", 2)
    if (ROOT / ".venv" / ".ready").exists():
        process = make(ROOT, "legacy", f"ARGS={' '.join(paths)}")
        assert process.stdout == out
        assert process.returncode == 2  # make's own, for any status but 0
