"""The start of both halves: their imports, the time to the first step, their memory."""

import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from compare.bench.halves import LIGHTNING, PLAIN
from compare.bench.report import table, with_quartiles
from compare.bench.turns import take_turns
from shared.options.train import Config as TrainConfig

ROOT = Path(__file__).parents[2]
MODULES = {PLAIN: "plain_pytorch.train", LIGHTNING: "lightning.train"}


def start(module: str, dataset: str) -> dict[str, float]:
    """Train one step in a new process, and return what it took."""
    with TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "compare.bench.first_step"]
        ran = subprocess.run(
            [*command, module, dataset, folder],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
    if ran.returncode:
        raise RuntimeError(f"{module}: {ran.stderr}")
    return json.loads(ran.stdout.splitlines()[-1])


def measure(config: TrainConfig, rounds: int) -> dict[str, Any]:
    """Return seconds of processor time, and bytes of memory, of each start."""
    ways = {
        half: partial(start, module, config.dataset) for half, module in MODULES.items()
    }
    return {"starts": take_turns(ways, rounds)}


def report(results: dict[str, Any], form: str) -> str:
    """Return a table with a row for each half."""
    rows = [
        [
            half,
            with_quartiles([one["import"] for one in starts], ".1f"),
            with_quartiles([one["first step"] for one in starts], ".1f"),
            with_quartiles([one["memory"] / 1e6 for one in starts], ".0f"),
        ]
        for half, starts in results["starts"].items()
    ]
    return table(["half", "import, s", "first step, s", "memory, MB"], rows, form)
