"""The trace file: JSON, one record a line, written as the run goes.

The file is text in UTF-8. Every line is an object, and says what it is by its first
key. A run that crashes or is killed loses at most the line it was writing.

`{"format": "training-trace", "version": 1, ...}`
    The first line: `torch` and `python` versions, `platform`, `device` of the first
    batch, number of `threads`, `settings` that change rounding, `rank`, `world_size`
    and the `command`. Written when the first model is called, so that it says what
    the script has set by then.
`{"optimizer": 0, ...}`
    Before an optimizer's first step, and again when its parameters change: its `class`,
    `device` and `dtype`, its parameters' `names` and `shapes`, the names of the
    `statistics` of its normalization layers, and the parameters as `weights`.
`{"step": 0, ...}`
    One optimizer step: the number of the `optimizer`; the `batches` since the last
    step, several under gradient accumulation; the `loss` of each backward; `gradient`
    as the optimizer saw it; `lr` of each parameter group; `weights` after the step.
    `dtype` is that of the first loss. LBFGS calls its closure several times: `closures`
    says how often, `batches`, `loss` and `gradient` are those of the first call, and
    `again` holds the further losses. `options` are the other settings of the groups,
    where they changed since the last record.
`{"eval": 0, ...}`
    One batch that led to no backward: the batch's own keys, and `output`.
`{"end": "finished", ...}`
    The last line, with the number of `steps` and `evals`; or the exception's name.

A batch has `inputs` (one fingerprint per tensor the model was called with), the `norm`
of all, the `mean` and the `shape` of the first, `mode` ("train", "eval", or which
layers were in which), `precision` (of autocast, or "off") and `rng` (a fingerprint of
each global random number generator as the batch entered the model). `gradient` and
`weights` have `bits` (one fingerprint for all), `norm`, and `each`: four hexadecimal
digits per parameter, then per statistic. Numbers that JSON lacks are the strings "nan",
"inf" and "-inf".
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FORMAT = "training-trace"
VERSION = 1

Record = dict[str, Any]

# What a record of each kind cannot do without.
Keys = Mapping[str, type]
BATCH: Keys = {
    "inputs": list,
    "mode": str,
    "precision": str,
    "rng": dict,
    "shape": list,
}
PRINTS: Keys = {"bits": str, "each": str}
KEYS: dict[str, Keys] = {
    "format": {"settings": dict, "threads": int, "torch": str, "world_size": int},
    "optimizer": {"names": list, "shapes": list, "statistics": list, "weights": dict},
    "step": {
        "optimizer": int,
        "batches": list,
        "loss": list,
        "lr": list,
        "weights": dict,
    },
    "eval": BATCH,
    "end": {"steps": int, "evals": int},
}


class TraceError(Exception):
    """A trace that cannot be used; its text is one line for the user."""


def to_line(record: Record) -> str:
    """Write a record as one line of JSON, without the line end."""
    return json.dumps(record, allow_nan=False, separators=(",", ":"))


def number(value: float) -> float | str:
    """Give a number as JSON can hold it, for instance "nan"."""
    return value if math.isfinite(value) else str(value)


@dataclass
class Trace:
    """A run as it was recorded.

    `lines` holds the records after the header, unparsed: 100,000 of them fit easily.
    `cut` is true where the last line is incomplete or there is no end record.
    """

    source: str
    header: Record
    lines: list[str]
    cut: bool

    @property
    def end(self) -> Record:
        """The end record, empty where the run was cut off."""
        record: Record = {} if self.cut else json.loads(self.lines[-1])
        return record


def from_lines(source: str, lines: list[str]) -> Trace:
    """Check the lines of a trace and put them into a `Trace`.

    Args:
        source: where they come from, for messages.
        lines: without line ends; the last may be incomplete.

    Raises:
        TraceError: they are not a trace this version can read.
    """
    if not any(line.strip() for line in lines):
        raise TraceError(
            f"{source} is empty: the run ended before a model was called;"
            " trace it again and let it train"
        )
    header = _parse(lines[0])
    if header is None or header.get("format") != FORMAT:
        raise TraceError(
            f"{source} is not a trace; make one with"
            " `python -m compare.trace --out a.trace -- script.py`"
        )
    if header.get("version") != VERSION:
        raise TraceError(
            f"{source} is a trace of version {header.get('version')}, and this program"
            f" reads version {VERSION}; trace the run again"
        )
    body = lines[1:]
    if body and _parse(body[-1]) is None:
        body = body[:-1]
    for position, line in enumerate(lines[: len(body) + 1], start=1):
        if not _sound(_parse(line)):
            raise TraceError(
                f"{source} is damaged at line {position}; trace the run again"
            )
    return Trace(source, header, body, cut=not lines[-1].startswith('{"end"'))


def read(path: Path) -> Trace:
    """Read a trace file.

    Raises:
        TraceError: there is no such file, or it is not a trace this version can read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise TraceError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise TraceError(f"{path} is not a trace: it is not text") from error
    return from_lines(str(path), text.removesuffix("\n").split("\n"))


def _sound(record: Record | None) -> bool:
    """Whether a record has what its kind must have."""
    keys = KEYS.get(next(iter(record or {}), ""))
    if record is None or keys is None or not _has(record, keys):
        return False
    prints = [record[key] for key in ("weights", "gradient") if record.get(key)]
    return all(_has(batch, BATCH) for batch in record.get("batches", [])) and all(
        _has(item, PRINTS) for item in prints
    )


def _has(value: object, keys: Keys) -> bool:
    return isinstance(value, dict) and all(
        isinstance(value.get(key), kind) for key, kind in keys.items()
    )


def _parse(line: str) -> Record | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None
