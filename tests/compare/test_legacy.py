"""The command compare.legacy reads what people have, and says so in their terms."""

import json
import random
import runpy
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compare.legacy import command
from compare.legacy.blocks import Document
from compare.legacy.command import main
from compare.legacy.rules import FIXES, RULES, Finding
from compare.legacy.search import Found
from compare.legacy.search import search as real
from tests.compare.legacy_examples import ALL_RULES, IMPORTS, examples, findings
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
        return findings(tmp_path / name)

    return write_and_search


def lines(found: list[Finding]) -> list[tuple[int, str]]:
    return [(one.line, one.found) for one in found if one.effect != "note"]


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
    assert write(f"```python\n{code}\n```\nNot its.\n") == [] or "Trainer(" in code


def test_code_without_lightning_is_left_alone(write: Write) -> None:
    code = "trainer = Trainer(options)\ntrainer.tune(model)\n"
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
train --gpus=1
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
            ("code", ["%%writefile train.py\n", "trainer.tune(model)"]),
            ("raw", code),
        ],
        indent=1,
    )
    found = [(f.cell, f.line, f.column) for f in write(text, "notebook.ipynb")]
    assert found == [(1, 3, 9), (3, 4, 22), (4, 2, 1), (5, 2, 1)]
    as_strings = notebook([("code", OLD)])  # type: ignore[list-item]
    assert lines(write(as_strings, "notebook.ipynb")) == [(2, GPUS)]


@pytest.mark.parametrize(
    "cell",
    [
        "import sys\nif 'colab' in sys.modules:\n    %pip install x\n",
        "!pip install \\\n    lightning \\\n    x\nx = 1",
        "pip install x\nfiles = !ls\nTrainer?\n%cd x",
        "%%capture\n!ls\nx = 1",
    ],
)
def test_what_is_for_ipython_is_no_fault(write: Write, cell: str) -> None:
    assert write(notebook([("code", [cell])]), "notebook.ipynb") == []
    assert write(f"Lightning\n```python\n{cell}\n```\n") == []


def test_python_where_none_is_announced(write: Write) -> None:
    text = """Text
```bash
from pytorch_lightning.utilities.cli import LightningCLI
```
Use `pl.Trainer(gpus=4)` or ``Trainer()``; `training_epoch_end` was its name.
> ```py
> Trainer(gpus=1)
> ```
```diff
- Trainer(gpus=1)
+ Trainer(gpus=2)
```
"""
    found = [(f.line, f.column) for f in write(text)]
    assert found == [(3, 1), (5, 17), (7, 11), (11, 11)]


def test_restructured_text(write: Write) -> None:
    text = """Training
========

Like this::

    trainer = Trainer(gpus=1)

.. code-block:: python
   :linenos:

   >>> trainer.tune(model)

.. testcode::

    class Model(LightningModule):
        def training_epoch_end(self, outputs):
            pass

.. code-block:: bash

    train --gpus 1

``Trainer(gpus=2)``, and >>> is a prompt.

>>> Trainer(gpus=3)

.. code-block:: python

    class Model(LightningModule):
        def on_epoch_end(self): pass

    >>> Trainer(gpus=4)
"""
    assert [f.line for f in write(text, "page.rst")] == [6, 11, 16, 23, 25, 30, 32]


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
    ],
)
def test_a_call_in_code_that_is_not_valid(write: Write, code: str) -> None:
    found = write(f"Lightning\n```python\n{code}\n```\n")
    where = next(n for n, x in enumerate(code.split("\n"), 3) if "gpus" in x)
    assert (where, GPUS) in lines(found)
    for note in (f for f in found if f.effect == "note"):
        assert note.code == "PLL000"
        assert 3 <= note.line <= 3 + code.count("\n")


def test_code_that_does_not_parse_is_noted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.md").write_text("Lightning\n```python\nx = = 1\n```\n")
    assert main([str(tmp_path)]) == 0
    assert "a.md:3:1: PLL000 does not parse: invalid syntax" in capsys.readouterr().out
    (tmp_path / "a.md").write_text("Of something\n```python\nx = = 1\n```\n")
    assert main([str(tmp_path)]) == 0
    assert "PLL000" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "code",
    [
        "def f(self, x)",
        "Trainer(gpus: int = None, **kwargs)",
        "Epoch 1:  50%|###   | 1/2",
        "  | Name | Type\n0 | net | Linear",
    ],
)
def test_signatures_and_output_are_no_code(write: Write, code: str) -> None:
    assert write(f"Lightning\n```python\n{code}\n```\n") == []


# The command.
MIXED = f"""{OLD}pl.Trainer(precision=16)
class A(pl.LightningModule):
    def on_epoch_end(self): pass
"""


def test_grouped_by_file_then_by_effect(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.py").write_text(MIXED)
    (tmp_path / "b.md").write_text(f"```python\n{MIXED}\n```")
    assert main([str(tmp_path), str(tmp_path / "a.py")]) == 1
    out = capsys.readouterr().out.splitlines()
    a, b = f"{tmp_path}/a.py", f"{tmp_path}/b.md"
    heads = [line for line in out if line in (a, b) or line.endswith(":")]
    effects = ["  Ignored silently:", "  Warns:", "  Raises an error:"]
    assert heads == [a, *effects, b, *effects]
    assert (
        f"    {a}:5:5: PLL423 def on_epoch_end in a LightningModule, since 1.8" in out
    )
    assert "        now: on_train_epoch_end, on_validation_epoch_end" in out
    assert out[-1] == "6 found"


def test_a_finding_in_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.ipynb").write_text(notebook([("code", [OLD])]))
    assert main(["--output-format", "json", str(tmp_path)]) == 1
    assert json.loads(capsys.readouterr().out) == [
        {
            "file": str(tmp_path / "a.ipynb"),
            "cell": 1,
            "line": 2,
            "column": 22,
            "code": "PLL101",
            "effect": "raises",
            "found": GPUS,
            "now": 'accelerator="gpu", devices=...',
            "since": "2.0",
            "skeleton": "",
        }
    ]
    assert main([str(tmp_path)]) == 1
    assert f"{tmp_path}/a.ipynb:cell 1:2:22: PLL101" in capsys.readouterr().out


def test_annotations_and_sarif(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.py"
    file.write_text(MIXED)
    assert main(["--output-format", "github", str(file)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"::error file={file},line=2,col=22,title=PLL101::")
    assert lines[1].startswith(f"::warning file={file},line=3,col=12,title=PLL236::")
    assert main(["--output-format", "sarif", str(file)]) == 1
    (log,) = json.loads(capsys.readouterr().out)["runs"]
    assert [result["ruleId"] for result in log["results"]] == [
        "PLL101",
        "PLL236",
        "PLL423",
    ]
    place = log["results"][0]["locations"][0]["physicalLocation"]
    assert place["region"] == {"startLine": 2, "startColumn": 22}


@pytest.mark.parametrize(
    ("options", "codes"),
    [
        ([], ["PLL101", "PLL236", "PLL423"]),
        (["--select", "PLL1,PLL4"], ["PLL101", "PLL423"]),
        (["--ignore", "PLL101"], ["PLL236", "PLL423"]),
        (["--select", "PLL1", "--ignore", "PLL101"], []),
    ],
)
def test_codes_are_selected(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    codes: list[str],
) -> None:
    (tmp_path / "a.py").write_text(MIXED)
    arguments = ["--output-format", "json", *options, str(tmp_path)]
    assert main(arguments) == bool(codes)
    assert [f["code"] for f in json.loads(capsys.readouterr().out)] == codes
    assert main(["--exit-zero", *arguments]) == 0


def test_a_code_that_no_rule_has(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--select", "PLL1,E501", "a.py"])
    assert ended.value.code == 2
    assert "no rule has a code like E501" in capsys.readouterr().err


def test_comments_silence_codes(write: Write) -> None:
    code = f"{OLD}trainer.tune(), pl.Trainer(gpus=2)"
    assert len(write(code, "a.py")) == 3
    assert [f.code for f in write(f"{code}  # noqa: PLL101", "a.py")] == [
        "PLL101",
        "PLL301",
    ]
    assert len(write(f"{code}  # noqa: E501, PLL301", "a.py")) == 2
    for mark in ("noqa", "legacy: on purpose"):
        assert len(write(f"{code}  # {mark}", "a.py")) == 1


def test_a_skeleton_for_what_an_epoch_returned(write: Write) -> None:
    code = """import lightning as L
class A(L.LightningModule):
    def validation_epoch_end(self, outs): pass
"""
    (found,) = write(code, "a.py")
    assert "def on_validation_epoch_end(self):" in found.skeleton
    assert "outs = self.validation_step_outputs" in found.skeleton
    compile(found.skeleton.replace("...", "pass"), "skeleton", "exec")


def test_help_shows_all_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    for word in ["--select", "--ignore", "noqa", "--exit-zero", "--output-format"]:
        assert word in text
    for word in ["{text,json,github,sarif}", "--diff", "--fix", "exit status", "PLL9"]:
        assert word in text


def test_it_runs_from_any_folder(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(OLD)
    words = [sys.executable, "-S", str(ROOT / "compare/legacy"), "a.py"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "")
    assert "a.py:2:22: PLL101" in done.stdout


def test_an_old_python_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 8))
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "compare/legacy/__main__.py"), run_name="__main__")
    assert ended.value.code == 2
    assert "needs Python 3.11" in capsys.readouterr().err


def test_nothing_is_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trap = tmp_path / "trap"
    code = f"import lightning\nopen({str(trap)!r}, 'w')\nraise SystemExit(7)\n"
    (tmp_path / "code.py").write_text(code)
    assert main([str(tmp_path)]) == 0
    assert not trap.exists()
    assert capsys.readouterr().out == "nothing found\n"
    assert main(["--output-format", "json", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "[]\n"


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("huge.py", b"#" * 10_000_001, "more than 10 MB"),
        ("binary.py", b"\x7fELF\0\0", "binary"),
        ("latin.py", b"x = '\xe9'", "not UTF-8"),
        ("cookie.py", b"# coding: no-such\n", "not UTF-8"),
        ("empty.ipynb", b"", "not a notebook"),
        ("list.ipynb", b"[1]", "not a notebook"),
        ("old.ipynb", b'{"worksheets": []}', "not a notebook"),
        ("cells.ipynb", b'{"cells": [1]}', "not a notebook"),
        ("deep.ipynb", b"[" * 100_000, "not a notebook"),
        ("picture.png", b"x", "not one of .ipynb"),
        ("crash.py", b"crash", "not searched, ZeroDivisionError"),
    ],
)
def test_unusable_input(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    data: bytes,
    said: str,
) -> None:
    (tmp_path / name).write_bytes(data)
    (tmp_path / "old.py").write_text(OLD)

    def search(document: Document) -> list[Found]:
        return [] if 1 // (document.path.name != "crash.py") == 0 else real(document)

    monkeypatch.setattr(command, "search", search)
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


def test_a_folder_without_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.txt").write_text(OLD)
    assert main([str(tmp_path)]) == 0
    assert "warning: no file of a known kind" in capsys.readouterr().err


@pytest.mark.parametrize(
    "code",
    ["x = " + "(" * 5000, "x = 1" + " + 1" * 50_000, "a" + ".b" * 50_000],
)
def test_deep_code_costs_no_other_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], code: str
) -> None:
    (tmp_path / "deep.py").write_text("import lightning\n" + code)
    (tmp_path / "old.py").write_text(OLD)
    assert main([str(tmp_path)]) in (1, 2)  # 2 where Python cannot parse it
    out, error = capsys.readouterr()
    assert GPUS in out
    assert error.count("\n") <= 1


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


# What people's files had.
FOUND = {
    "options of an earlier cell": (
        "kw = dict(\n    max_epochs=1,\n    gpus=1,  # !\n)\nt = pl.Trainer(**kw)"
    ),
    "beside a removed constructor": (
        "t = pl.Trainer.from_argparse_args(  # !\n    args,\n"
        "    weights_summary=None,  # !\n)"
    ),
    "options by item, update and |": (
        "kw = {}\nkw['gpus'] = 1  # !\nkw.update(amp_level='O2')  # !\n"
        "kw |= {'ipus': 1}  # !\npl.Trainer(**kw)"
    ),
    "a parameter's default": (
        "def make(options=dict(gpus=1)):  # !\n    return pl.Trainer(**options)"
    ),
    "handed on": (
        "def make(**kw):\n    return pl.Trainer(max_epochs=1, **kw)\n"
        "make(gpus=1)  # !\nmake(devices=1)"
    ),
    "in a class, or inside": (
        "class C:\n    options = dict(gpus=1)  # !\npl.Trainer(**C.options)\n"
        "all = {'t': {'gpus': 1}}  # !\npl.Trainer(**all['t'])"
    ),
    "in one of two branches": (
        "if a:\n    kw = dict(gpus=1)  # !\nelse:\n    kw = dict(ipus=1)  # !\n"
        "pl.Trainer(**kw)"
    ),
    "of a command line's Trainer": (
        "from pytorch_lightning.cli import LightningCLI\n"
        "LightningCLI(A, trainer_defaults={'max_epochs': 1, 'gpus': 2})  # !"
    ),
    "partial": "from functools import partial\npartial(pl.Trainer, gpus=1)  # !",
    "parameters by name": (
        "params = [a.parameters(), b.parameters()]  # !\ntorch.optim.Adam(params)"
    ),
    "hooks": (
        "class A(pl.LightningModule):\n    def setup(self, mode): pass  # !\n"
        "    def teardown(self): pass  # !\n"
        "    def validation_step(self, batch, batch_idx, dataloader_idx):  # !\n"
        "        self.log('a', 1)\n"
        "    def optimizer_step(self, epoch, batch_idx, optimizer, closure):\n"
        "        optimizer.step()  # !\n"
        "    def on_train_epoch_end(self, outputs): pass  # !\n"
        "    def backward(self, loss, optimizer, optimizer_idx): pass  # !"
    ),
    "values": (
        "pl.Trainer(\n    accelerator=None,  # !\n    strategy=None,  # !\n"
        "    profiler=n == 1,  # !\n)"
    ),
    "a Trainer's attributes": (
        "class A(pl.LightningModule):\n    def on_fit_start(self):\n"
        "        t = self.trainer\n        t.num_gpus  # !\n"
        "        self.trainer.model.x\n"
        "        self.trainer._lightning_optimizers  # !\n"
        "trainer = pl.Trainer()\ntrainer.resume_from_checkpoint = 'a'  # !\n"
        "trainer.current_epoch = 3  # !\ntrainer.mine = 3\ntrainer.mine"
    ),
    "freeze": (
        "class A(pl.callbacks.BaseFinetuning):\n"
        "    def freeze_before_training(self, m):\n"
        "        self.freeze(module=m)  # !\n"
        "    def finetunning_function(self, m, e, o): pass  # !"
    ),
    "names in strings, private names": (
        "patch('pytorch_lightning.metrics.Accuracy')  # !\n"
        "from pytorch_lightning.utilities import _OMEGACONF_AVAILABLE  # !\n"
        "import pytorch_lightning.utilities.warnings\n"
        "pl.utilities.no_such.f()  # !\nlog('pytorch_lightning.txt')"
    ),
    "a package of its own, a class of a later cell": (
        "from lightning_lite import LightningLite  # !\n"
        "new = Later.load_from_metrics('a.ckpt')  # !\n"
        "class Later(pl.LightningModule): pass"
    ),
    "names that nothing imports": "x = EvalResult()  # !\nTrainResult(x)  # !",
}
CLEAN = {
    "what follows from an import": (
        "from pytorch_lightning.metrics import Accuracy  # noqa\n"
        "a = Accuracy()\na(x)\nclass M(pl.LightningModule):\n"
        "    def __init__(self): self.acc = Accuracy()\n"
        "    def training_step(self, b, i):\n        self.log('a', self.acc)"
    ),
    "an optimizer before .to()": (
        "optimizer = torch.optim.Adam(model.parameters())\nmodel.to('cuda')"
    ),
    "a version check": (
        "if pl.__version__ < '2':\n    t = pl.Trainer(gpus=1)\nelse:\n    t = 1\n"
        "kw = {'gpus': 1} if Version(pl.__version__).major < 2 else {}\n"
        "pl.Trainer(**kw)"
    ),
    "a version check that sets options": (
        "NEW = Version(pl.__version__) >= Version('2')\nkw = dict(devices=1)\n"
        "if not NEW:\n    kw = dict(gpus=1)\npl.Trainer(**kw)"
    ),
    "a try": (
        "try:\n    from pytorch_lightning.utilities.cli import LightningCLI\n"
        "except ImportError:\n    from pytorch_lightning.cli import LightningCLI"
    ),
    "what a base says": (
        "class Base(pl.LightningModule):\n    def __init__(self):\n"
        "        self.automatic_optimization = False\nclass G(Base):\n"
        "    def configure_optimizers(self):\n        return [Adam(a), Adam(b)]"
    ),
    "a submodule's step": (
        "trainer.fit(data, epochs=3)\n"
        "class Head(Base):\n    def validation_step(self, a, b, c): pass\n"
        "class M(pl.LightningModule):\n"
        "    def validation_step(self, batch, batch_idx):\n"
        "        return self.head.validation_step(batch, 1, 2)"
    ),
    "a signature": (
        "names = list(inspect.signature(pl.Trainer).parameters)\n"
        "sig = inspect.signature(f)\nfilter(g, sig.parameters.values())"
    ),
    "a dict called log": (
        "class M(pl.LightningModule):\n    def training_step(self, b, i):\n"
        "        log = {'a': 1}\n        self.logger.log_metrics({'log': 1})\n"
        "        cfg = {'log': True}\n        return {'loss': 1}"
    ),
    "an early return": (
        "class C(pl.Callback):\n"
        "    def on_save_checkpoint(self, trainer, pl_module, checkpoint):\n"
        "        if trainer.global_step == 0:\n            return None\n"
        "        checkpoint['a'] = 1"
    ),
    "several loaders": (
        "class M(pl.LightningModule):\n    def val_dataloader(self): return [a, b]\n"
        "    def validation_step(self, batch, batch_idx, dataloader_idx):\n"
        "        self.log('a', 1)"
    ),
}


@pytest.mark.parametrize(
    "code", [*FOUND.values(), *CLEAN.values()], ids=[*FOUND, *CLEAN]
)
def test_what_peoples_files_had(write: Write, code: str) -> None:
    head = "import pytorch_lightning as pl\nimport inspect, torch\n"
    expected = [n for n, x in enumerate(code.split("\n"), 3) if x.endswith("# !")]
    assert [f.line for f in write(head + code, "code.py")] == expected
    blocks = "\n```\n\n```python\n".join([head.rstrip(), code])
    found = write(f"```python\n{blocks}\n```\n")
    assert [f.line for f in found] == [n + 4 for n in expected]


def test_two_optimizers_in_an_excerpt(write: Write) -> None:
    code = """Lightning
```python
def configure_optimizers(self):
    a = Adam(self.g.parameters())
    b = Adam(self.d.parameters())
    return [a, b]
```
"""
    assert [(f.line, f.code) for f in write(code)] == [(6, "PLL025")]
    assert write(code + "```python\nself.automatic_optimization = False\n```\n") == []


def test_advice(write: Write) -> None:
    code = f"""{OLD}pl.Trainer(gpus=0)
class A(pl.LightningModule):
    def __init__(self, hparams):
        self.hparams = hparams
    def training_step(self, batch, batch_idx, optimizer_idx): pass
"""
    now = [finding.now for finding in write(code, "a.py")]
    assert now[1] == 'accelerator="cpu"'
    assert now[2].startswith("self.save_hyperparameters(hparams): checkpoints then")


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("pytorch-lightning==1.5.10", "PLL902"),
        ("lightning[extra] == 2.6.5  # why", "PLL902"),
        ("pytorch_lightning>=1.4,<1.6", "PLL902"),
        ("pytorch-lightning~=1.5", "PLL902"),
        ("pytorch-lightning~=2.5.0", "PLL902"),
        ("lightning==2.6.2", "PLL901"),
        ("pytorch-lightning==2.6.3", "PLL901"),
        ('pytorch-lightning = "^1.4"', "PLL902"),
        ("pytorch-lightning=1.4", "PLL902"),
        ("pytorch-lightning>=1.4", ""),
        ("# pytorch-lightning==1.4", ""),
        ("lightning~=2.1", ""),
        ("lightning<3", ""),
        ("lightning==2.6.6", ""),
        ("lightning-bolts==0.3", ""),
        ("torch==1.2", ""),
    ],
)
def test_versions_that_are_unsafe(write: Write, line: str, code: str) -> None:
    expected = [code] if code else []
    assert [f.code for f in write(line, "requirements.txt")] == expected
    pip = f"!pip install -q \\\n  {line.split('  #')[0]}"
    found = write(notebook([("code", [pip])]), "a.ipynb")
    assert [(f.line, f.code) for f in found] == [(2, code) for code in expected]
    if '"' not in line and line[0] != "#":
        found = write(f'setup(install_requires=["{line}"])', "setup.py")
        assert [f.code for f in found] == expected


# No input crashes it.
SEEDS = [*FOUND.values(), *CLEAN.values(), *PIECES.values()]
SEEDS += ["\n".join(examples(rule)) for rule in ALL_RULES[::7]]
FORMS = {
    "a.py": "{}",
    "a.md": "Lightning\n```python\n{}\n```\n",
    "a.rst": "Lightning::\n\n    {}\n",
}


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.integers(0, 10**9), st.sampled_from(sorted(FORMS)))
def test_no_input_crashes_it(
    tmp_path_factory: pytest.TempPathFactory, seed: int, name: str
) -> None:
    chance = random.Random(seed)
    text = IMPORTS + "\n".join(chance.sample(SEEDS, 2))
    for _ in range(chance.randint(0, 8)):
        start = chance.randrange(len(text))
        end = start + chance.randint(0, 30)
        new = chance.choice(["", "(", "\n", "    ", "'", "\t", "é", ": ", "\\", "**"])
        text = text[:start] + chance.choice([new, text[end : end + 20]]) + text[end:]
    file = tmp_path_factory.getbasetemp() / name
    file.write_text(FORMS[name].format(text.replace("\n", "\n    ")))
    for finding in findings(file):
        assert 1 <= finding.line <= text.count("\n") + 5
        assert finding.column >= 1
    file.write_text(FORMS[name].format(text))
    findings(file)
    nb = file.with_suffix(".ipynb")
    nb.write_text(notebook([("code", [text]), ("markdown", [text])]))
    findings(nb)


# --fix and --diff.
TO_FIX = """# A script.
import pytorch_lightning as pl  # as always
from pytorch_lightning.core.lightning import LightningModule  # the base
from pytorch_lightning.loggers.base import LightningLoggerBase, rank_zero_experiment
from pytorch_lightning.utilities.cli import (
    LightningCLI,  # the command
)

def main(args):
    trainer = pl.Trainer(
        gpus=2,  # two of them
        max_nb_epochs=args.epochs,
        precision=16,
        distributed_backend="ddp",
        resume_from_checkpoint=args.ckpt,
    )
    trainer.fit(model, train_dataloader=loader)  # go

pl.Trainer(accelerator="ddp", gpus=[0, 1], profiler=True)
pl.Trainer(gpus=0, resume_from_checkpoint=None)
"""
FIXED = """# A script.
import pytorch_lightning as pl  # as always
from pytorch_lightning import LightningModule  # the base
from pytorch_lightning.loggers import Logger as LightningLoggerBase
from pytorch_lightning.loggers.logger import rank_zero_experiment
from pytorch_lightning.cli import (
    LightningCLI,  # the command
)

def main(args):
    trainer = pl.Trainer(
        accelerator="gpu", devices=2,  # two of them
        max_epochs=args.epochs,
        precision="16-mixed",
        strategy="ddp",
    )
    trainer.fit(model, train_dataloaders=loader, ckpt_path=args.ckpt)  # go

pl.Trainer(strategy="ddp", accelerator="gpu", devices=[0, 1], profiler="simple")
pl.Trainer(accelerator="cpu")
"""
# What --fix leaves: it would change what the code does, or lose a comment.
LEFT = [
    "pl.Trainer(gpus=n)",
    "pl.Trainer(gpus='0,1')",
    "pl.Trainer(gpus=1, accelerator='cpu')",
    "pl.Trainer(checkpoint_callback=callback)",
    "pl.Trainer(\n    enable_pl_optimizer=True,  # why\n    max_epochs=1,\n)",
    "t = pl.Trainer(resume_from_checkpoint=x)\nt.fit(a)\nt.fit(b)",
    "t = pl.Trainer(resume_from_checkpoint=newest())\nt.fit(a)",
    "from pytorch_lightning.metrics import Accuracy",
    "from pytorch_lightning.utilities.distributed import (\n"
    "    rank_zero_only,  # once\n    sync_ddp,\n)",
]


def test_a_fix(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("libcst")
    file = tmp_path / "a.py"
    file.write_bytes(TO_FIX.replace("\n", "\r\n").encode())
    assert main(["--diff", str(file)]) == 1
    out = capsys.readouterr().out
    assert '+        accelerator="gpu", devices=2,  # two of them\n' in out
    assert file.read_bytes() == TO_FIX.replace("\n", "\r\n").encode()
    assert main(["--fix", str(file)]) == 0
    assert file.read_bytes() == FIXED.replace("\n", "\r\n").encode()
    assert main(["--diff", str(file)]) == 0


def test_a_fix_in_texts_and_notebooks(tmp_path: Path) -> None:
    pytest.importorskip("libcst")
    page, book = tmp_path / "a.md", tmp_path / "a.ipynb"
    for code, text in (
        (OLD, "old"),
        (OLD.replace("gpus", 'accelerator="gpu", devices'), "new"),
    ):
        shown = code.rstrip().replace("\n", "\n  ")
        made = f"- A list:\n  ```python\n  {shown}\n  ```\n  end\n"
        cell = ["%cd x\n", *code.splitlines(True), "!ls \\\n", "  -l"]
        nb = notebook([("markdown", ["é"]), ("code", cell)], indent=1) + "\n"
        if text == "old":
            page.write_text(made)
            book.write_text(nb)
            assert main(["--fix", str(tmp_path)]) == 0
    assert page.read_text() == made
    assert json.loads(book.read_text()) == json.loads(nb)
    assert book.read_text().count("\n") == nb.count("\n")


def test_a_fix_leaves_sessions_and_words(tmp_path: Path) -> None:
    pytest.importorskip("libcst")
    text = """Lightning, as in `Trainer(gpus=1)`:
```python
>>> Trainer(
...     gpus=1)
<Trainer>
>>> Trainer(gpus=1)
```
> ```python
> def f():
>
>     Trainer(gpus=1)
> ```
"""
    (tmp_path / "a.md").write_text(text)
    assert main(["--fix", str(tmp_path)]) == 1
    new = text.replace(">     Trainer(gpus", '>     Trainer(accelerator="gpu", devices')
    assert (tmp_path / "a.md").read_text() == new


def test_a_comment_keeps_its_own_call_only(tmp_path: Path) -> None:
    pytest.importorskip("libcst")
    file = tmp_path / "a.py"
    file.write_text(f"{OLD}{LEFT[4]}\n")
    assert main(["--fix", str(file)]) == 1
    assert file.read_text() == f"{OLD}{LEFT[4]}\n".replace(
        "gpus=1", 'accelerator="gpu", devices=1'
    )


def test_a_full_disk_leaves_the_file(tmp_path: Path) -> None:
    pytest.importorskip("libcst")
    file = tmp_path / "a.py"
    file.write_text(f"{OLD}{'# a long file' * 200}")
    before = file.read_bytes()
    words = [sys.executable, str(ROOT / "compare/legacy"), "--fix", str(file)]
    limited = f"ulimit -f 1; exec {shlex.join(words)}"
    done = subprocess.run(["sh", "-c", limited], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == f"error: {file}: File too large\n"
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [before]


@pytest.mark.parametrize("code", LEFT)
def test_what_a_fix_leaves(tmp_path: Path, code: str) -> None:
    pytest.importorskip("libcst")
    file = tmp_path / "a.py"
    file.write_text("import pytorch_lightning as pl\n" + code)
    assert main(["--fix", str(file)]) == 1
    assert file.read_text() == "import pytorch_lightning as pl\n" + code


def test_all_fixes_of_the_table(tmp_path: Path) -> None:
    pytest.importorskip("libcst")
    for old, (new, *kinds) in FIXES.items():
        rule = RULES["argument"].get(old) or RULES["value"][old]
        value = {"int": "2", "bool": "True", "str": "'ddp'"}.get(
            (kinds or [""])[0], "x"
        )
        code = examples(rule)[0].replace("=given", f"={value}")
        file = tmp_path / "a.py"
        file.write_text(f"{IMPORTS}{code}  # a comment\n")
        main(["--fix", str(file)])
        assert new.format(value) in file.read_text(), old
        assert file.read_text().endswith("# a comment\n")
        assert rule.code not in [f.code for f in findings(file)], old
        compile(file.read_text(), old, "exec")


def test_fix_says_what_it_needs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "libcst", None)
    with pytest.raises(SystemExit):
        main(["--fix", "a.py"])
    assert "pip install libcst" in capsys.readouterr().err


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
    ready, packages = ROOT / ".venv" / ".ready", ROOT / "requirements.txt"
    # With any other list make would install the packages anew.
    if ready.exists() and ready.read_bytes() == packages.read_bytes():
        process = make(ROOT, "legacy", f"ARGS={' '.join(paths)}")
        assert process.stdout == out
        assert process.returncode == 2  # make's own, for any status but 0
