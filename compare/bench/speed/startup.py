"""Fresh processes: seconds of imports and to the first step, and the memory."""

import json
import subprocess
import sys
import time
from dataclasses import fields
from functools import partial
from pathlib import Path

from compare.bench.speed.turns import Samples, take_turns
from compare.bench.speed.ways import LoadedData, Sample
from shared.options.train import TrainConfig
from shared.runtime.errors import UserError

ROOT = Path(__file__).parents[3]


def probe(half: str, config: TrainConfig) -> Sample:
    """Train with a half in a fresh process; return what it has measured.

    Raises:
        UserError: the training failed.
    """
    values = {f.name: getattr(config, f.name) for f in fields(TrainConfig)}
    options = TrainConfig(**values | {"max_epochs": 1}).to_arguments()
    command = [
        sys.executable,
        "-m",
        "compare.bench.speed.probe",
        half,
        str(time.time()),
    ]
    process = subprocess.run(
        [*command, *options], cwd=ROOT, capture_output=True, text=True
    )
    if process.returncode:
        raise UserError(f"{half} ended with {process.stderr.strip().splitlines()[-1:]}")
    return json.loads(process.stdout.splitlines()[-1])


def measure(data: LoadedData, rounds: int) -> Samples:
    """Return what fresh processes of both halves have measured."""
    halves = {"plain": "plain_pytorch", "lightning": "lightning"}
    ways = {name: partial(probe, half, data.config) for name, half in halves.items()}
    return take_turns(ways, rounds)
