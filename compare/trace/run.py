"""A recorded run as Python objects, and how to read it from a file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FORMAT = "training trace"
VERSION = 1
NAMELESS = "parameter "  # how the name of one begins that is in no living module
NO_TENSOR = "AAAA"  # the short fingerprint of a gradient that is None


class UnusableTraceError(Exception):
    """The file cannot be compared; the message says why, in one line."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The tensors that a forward was given: one entry for each."""

    hash: tuple[str, ...]
    bag: tuple[int, ...]
    shape: tuple[tuple[int, ...], ...]
    mean: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Tensors:
    """Fingerprints and norm of many tensors."""

    hash: str
    parts: str  # four letters for each tensor
    norm: float

    def part(self, index: int) -> str:
        """Return the short fingerprint of one tensor."""
        return self.parts[4 * index : 4 * index + 4]


@dataclass(frozen=True, slots=True)
class Optimizer:
    """An optimizer as it was just before its first step."""

    name: str
    settings: tuple[dict[str, Any], ...]
    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    weights: Tensors


@dataclass(frozen=True, slots=True)
class Step:
    """One step of one optimizer."""

    optimizer: int
    batch: tuple[Batch, ...]
    mode: str
    precision: str
    random: dict[str, str]
    loss: tuple[float, ...]
    gradient: Tensors
    lr: tuple[float, ...]
    weights: Tensors


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One batch that was evaluated, not trained on."""

    after: int
    batch: Batch | None
    mode: str
    precision: str
    random: dict[str, str]
    output: Tensors | None


@dataclass
class Run:
    """Everything that was recorded of a run."""

    name: str
    start: dict[str, Any] = field(default_factory=dict)
    layers: tuple[str, ...] = ()
    optimizers: list[Optimizer] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def add(self, record: Mapping[str, Any]) -> None:
        """Add a record. Raises KeyError, TypeError or ValueError for a damaged one."""
        match record["kind"]:
            case "start":
                self.start = dict(record)
            case "model":
                self.layers = tuple(map(str, record["layers"]))
            case "optimizer":
                self.optimizers.append(_optimizer(record))
            case "step":
                self.steps.append(_step(record, len(self.optimizers)))
            case "evaluation":
                self.evaluations.append(_evaluation(record))
            case "end":
                if record["error"]:
                    self.remarks.append(f"{self.name} ended with {record['error']}")
            case kind:
                raise ValueError(f"no such kind of record: {kind}")


def read_trace(path: Path) -> Run:
    """Read a trace file.

    Raises UnusableTraceError for a file that is missing, damaged or no trace. A last
    line that was cut short, as a killed run leaves it, is left out, with a remark.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UnusableTraceError(_why_unreadable(path, error)) from error
    except UnicodeDecodeError as error:
        raise UnusableTraceError(f"{path} is not a trace: it is no text") from error
    lines = text.splitlines()
    _check_header(path, lines[0] if lines else "")
    run = Run(path.name)
    complete = False
    for number, line in enumerate(lines[1:], start=2):
        try:
            record = json.loads(line)
            run.add(record)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            if number == len(lines) and not text.endswith("\n"):
                break
            raise UnusableTraceError(
                f"{path} is damaged at line {number}; record the run again"
            ) from error
        complete = record["kind"] == "end"
    if not complete:
        run.remarks.append(f"{path.name} stops in the middle: the run was killed")
    return run


def _why_unreadable(path: Path, error: OSError) -> str:
    ranks = sorted(path.parent.glob(f"{path.stem}.rank*{path.suffix}"))
    if not path.exists() and ranks:
        return f"there is no {path}, but {ranks[0]}: name the file of one rank"
    return f"cannot read {path}: {error.strerror}"


def _check_header(path: Path, line: str) -> None:
    try:
        header = json.loads(line)
        name, version = header["format"], header["version"]
    except (KeyError, TypeError, ValueError):
        name = version = None
    if name != FORMAT:
        how = "python -m compare.trace --out FILE -- SCRIPT"
        what = "is not a trace" if line else "is empty"
        raise UnusableTraceError(f"{path} {what}; record one with: {how}")
    if version != VERSION:
        raise UnusableTraceError(
            f"{path} has version {version} of the format, this reads version {VERSION};"
            " record the run again"
        )


def _batch(record: Mapping[str, Any]) -> Batch:
    return Batch(
        hash=tuple(map(str, record["hash"])),
        bag=tuple(int(bag, 16) for bag in record["bag"]),
        shape=tuple(tuple(map(int, shape)) for shape in record["shape"]),
        mean=tuple(map(float, record["mean"])),
    )


def _tensors(record: Mapping[str, Any]) -> Tensors:
    return Tensors(str(record["hash"]), str(record["parts"]), float(record["norm"]))


def _optimizer(record: Mapping[str, Any]) -> Optimizer:
    return Optimizer(
        name=str(record["class"]),
        settings=tuple(map(dict, record["settings"])),
        names=tuple(map(str, record["names"])),
        shapes=tuple(tuple(map(int, shape)) for shape in record["shapes"]),
        weights=_tensors(record["weights"]),
    )


def _step(record: Mapping[str, Any], optimizers: int) -> Step:
    if not 0 <= record["optimizer"] < optimizers:
        raise ValueError("a step of an optimizer that was not introduced")
    return Step(
        optimizer=int(record["optimizer"]),
        batch=tuple(map(_batch, record["batch"])),
        mode=str(record["mode"]),
        precision=str(record["precision"]),
        random=dict(record["random"]),
        loss=tuple(map(float, record["loss"])),
        gradient=_tensors(record["gradient"]),
        lr=tuple(map(float, record["lr"])),
        weights=_tensors(record["weights"]),
    )


def _evaluation(record: Mapping[str, Any]) -> Evaluation:
    batch, output = record["batch"], record["output"]
    return Evaluation(
        after=int(record["after"]),
        batch=None if batch is None else _batch(batch),
        mode=str(record["mode"]),
        precision=str(record["precision"]),
        random=dict(record["random"]),
        output=None if output is None else _tensors(output),
    )
