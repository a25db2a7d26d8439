"""The trace and the comparison run in another folder and environment."""

import os
import subprocess
import sys
import textwrap
import venv
from pathlib import Path

import pytest
import torch

from tests.processes import ROOT

LOOP = """
    import compare  # the user's own
    import torch
    from torch import nn

    assert compare.MINE and open("data.txt").read() == "4"
    for name in ("plain_pytorch", "shared", "lightning.train", "recorder", "command"):
        try:
            __import__(name)
        except ImportError:
            pass
        else:
            raise AssertionError(name)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(int(open("data.txt").read())):
        loss = model(torch.ones(4, 3)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
"""

PORT = """
    import lightning as L
    import compare
    import torch
    from torch import nn
    from torch.utils.data import DataLoader

    class Lit(L.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = nn.Linear(3, 2)

        def training_step(self, batch):
            return self.net(batch).square().mean()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    steps = int(open("data.txt").read())
    torch.set_num_threads(1)
    torch.manual_seed(0)
    L.Trainer(
        max_epochs=1, accelerator="cpu", devices=1, logger=False,
        enable_checkpointing=False, enable_progress_bar=False,
    ).fit(Lit(), DataLoader([torch.ones(3)] * 4 * steps, 4))
"""

NO_PACKAGES = """
    import sys
    for name in ("xxhash", "tabulate", "numpy", "pytorch_lightning"):
        sys.modules[name] = None  # importing it fails, as where it is not installed
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in (("loop", LOOP), ("port", PORT), ("compare", "MINE = True\n")):
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
    (tmp_path / "data.txt").write_text("4")
    return tmp_path


def run(
    folder: Path, *command: str | Path, python: str | Path = sys.executable
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, *command],
        cwd=folder,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize(
    "what", [["loop.py"], pytest.param(["-m", "loop"], marks=pytest.mark.slow)]
)
def test_a_script_sees_its_own_modules_and_none_of_ours(
    folder: Path, what: list[str]
) -> None:
    traced = run(folder, ROOT / "compare/trace", "--out", "a.trace", "--", *what)
    assert traced.returncode == 0, traced.stderr
    assert traced.stderr == "trace: 4 steps and 0 evaluation batches in a.trace\n"
    compared = run(folder, ROOT / "compare/divergence", "a.trace", "a.trace")
    assert compared.returncode == 0, compared.stderr


def test_torch_alone_is_enough(folder: Path) -> None:
    (folder / "sitecustomize.py").write_text(textwrap.dedent(NO_PACKAGES))
    alone = f"import sys; sys.path.insert(0, {str(folder)!r}); import sitecustomize"
    code = f"{alone}, runpy; sys.path.pop(0); sys.argv[:] = sys.argv[1:]"
    code += "; runpy.run_path(sys.argv[0], run_name='__main__')"
    arguments = ("--out", "a.trace", "--", "loop.py")
    traced = run(folder, "-c", code, ROOT / "compare/trace", *arguments)
    assert traced.returncode == 0, traced.stderr
    compared = run(
        folder, "-c", code, ROOT / "compare/divergence", "a.trace", "a.trace"
    )
    assert compared.returncode == 0, compared.stderr
    assert '"fingerprint":"blake2b"' in (folder / "a.trace").read_text()


@pytest.mark.slow
def test_the_lightning_of_pypi(folder: Path) -> None:
    """In a new environment; torch, which is large, is that of this one.

    A .pth file lends it the packages of this environment. `lightning`, which this one
    has not, and must not have, is installed from PyPI.
    """
    environment = folder / "environment"
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    packages = next(environment.glob("lib/python*/site-packages"))
    (packages / "torch.pth").write_text(str(Path(torch.__file__).parents[1]) + "\n")
    install = ("-m", "pip", "install", "--quiet", "--no-deps", "lightning")
    installed = run(folder, *install, python=python)
    if installed.returncode:
        pytest.skip(f"lightning cannot be installed: {installed.stderr[-200:]}")
    for script, out in (("loop.py", "a.trace"), ("port.py", "b.trace")):
        arguments = (ROOT / "compare/trace", "--out", out, "--", script)
        traced = run(folder, *arguments, python=python)
        assert traced.returncode == 0, traced.stderr
    compared = run(
        folder, ROOT / "compare/divergence", "a.trace", "b.trace", python=python
    )
    assert compared.stdout.startswith("a.trace and b.trace are the same: 4 steps")


RANKS = """
    import sys
    import torch
    import pytorch_lightning as pl
    from torch import nn
    from torch.utils.data import DataLoader

    class Lit(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = nn.Linear(3, 2)

        def training_step(self, batch):
            return self.net(batch).square().mean()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    torch.set_num_threads(1)
    torch.manual_seed(0)
    pl.Trainer(
        max_epochs=1, accelerator="cpu", devices=2, strategy="ddp", logger=False,
        enable_checkpointing=False, enable_progress_bar=False,
    ).fit(Lit(), DataLoader([torch.ones(3)] * 16, 4))
"""


@pytest.mark.slow
def test_ranks_that_a_trainer_starts(folder: Path) -> None:
    (folder / "ranks.py").write_text(textwrap.dedent(RANKS))
    traced = run(folder, ROOT / "compare/trace", "--out", "a.trace", "--", "ranks.py")
    assert traced.returncode == 0, traced.stderr
    compared = run(folder, ROOT / "compare/divergence", "a.trace", "a.rank1.trace")
    assert compared.returncode == 0, compared.stdout
    assert "are the same: 2 steps" in compared.stdout
