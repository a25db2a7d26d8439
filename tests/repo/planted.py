"""A small project with lessons of a few lines, for tests of the tools around them."""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

TRAIN = '''"""Train."""

import torch


# 1. The model: its loss.
class Model:
    """A model."""


# 2. The loop: one step a batch.
def fit(model, data, config, run_dir):
    # Data.
    loader = data.loader()
    # Training: for every batch.
    for batch in loader:
        loss = model.loss(batch)
        loss.backward()
        optimizer.step()
    # Checkpoints.
    save(model)


# 3. The run.
def main(config, run_dir):
    fit(Model(), data, config, run_dir)
'''

CLIPPING = TRAIN.replace(
    '"""Train."""', '"""Train, with clipped gradients."""'
).replace(
    "        optimizer.step()\n",
    "        # Clipping.\n        clip(model)\n        optimizer.step()\n",
)


def plant(root: Path, **lessons: str) -> Path:
    """Write lessons, with a page each, into both halves of a project with our tools."""
    shutil.copytree(ROOT / "compare" / "lessons", root / "compare" / "lessons")
    for half in ("plain_pytorch", "lightning"):
        for name, text in {"train": TRAIN, "clipping": CLIPPING, **lessons}.items():
            path = root / half / f"{name}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            page = root / "compare" / "lessons" / f"{name}.md"
            page.write_text(f"# {name}: its idea\n\nMore of it.\n")
    return root


def commit(root: Path) -> None:
    """Make a git repository of the project, with one commit."""
    author = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["add", "."], [*author, "commit", "-qm", "all"]):
        subprocess.run(["git", *command], cwd=root, check=True)


def run_tool(
    root: Path, module: str, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Run a tool in the project's folder."""
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, cwd=root, capture_output=True, text=True)
