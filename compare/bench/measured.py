"""What a command has measured, kept as JSON: on what, how, and every number.

The README shows the files that are committed, compare/results/NAME-DEVICE.json.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from compare.bench.machine import describe
from shared.checkpoints.whole_files import write_whole
from shared.options.train import TrainConfig
from shared.runtime.errors import UsageError, UserError

Results = dict[str, Any]
RESULTS = Path(__file__).parents[1] / "results"


@dataclass(frozen=True)
class MeasureConfig(TrainConfig):
    """The options of every command that measures."""

    json: Path | None = None
    """Write all measurements to this file."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.json and self.json.is_dir():
            raise UsageError(f"--json {self.json} is a folder: name a file")


def begin(config: MeasureConfig, dataset: str, *options: str) -> Results:
    """Return what is known beforehand, and see that the file can be written.

    Raises:
        UserError: it cannot; better now than after minutes.
    """
    if config.json:
        try:
            config.json.parent.mkdir(parents=True, exist_ok=True)
            TemporaryFile(dir=config.json.parent).close()
        except OSError as error:
            raise UserError(f"--json {config.json}: {error.strerror}") from error
    return {
        "machine": describe(config.use_cuda),
        "dataset": dataset,
        "options": {name: getattr(config, name) for name in options},
    }


def write(results: Results, config: MeasureConfig) -> None:
    """Write what was measured so far, if that was asked for."""
    if config.json:
        write_whole(config.json, f"{json.dumps(results)}\n".encode())


def committed(name: str) -> dict[Path, Results]:
    """Return the results of a command that the README shows, by their files."""
    files = sorted(RESULTS.glob(f"{name}-*.json"))
    return {path: json.loads(path.read_text()) for path in files}


def conditions(results: Results) -> str:
    """Return on what and when all was measured."""
    machine, options = results["machine"], results["options"]
    versions = ", ".join(f"{name} {v}" for name, v in machine["versions"].items())
    where = machine["cpu"] if machine["device"] == "cpu" else machine["device"]
    return (
        f"Measured on {machine['date']}: {where}, {machine['cores']} cores,"
        f" {options['threads']} thread(s), load {machine['load']} beforehand;"
        f" {versions}; {results['dataset']}."
    )
