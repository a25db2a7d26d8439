"""A recorded run as Python objects, and how to read it from a file."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

FORMAT = "training trace"
VERSION = 3
NAMELESS = "parameter "  # how the name of one begins that is in no living module
NO_TENSOR = "AAAA"  # the short fingerprint of a gradient that is None
T = TypeVar("T")


class UnusableTraceError(Exception):
    """The files cannot be compared; the message says why, in one line."""


@dataclass(frozen=True)
class Batch:
    """The tensors that a forward was given: one entry for each."""

    hash: tuple[str | None, ...]  # None: it could not be read
    rows: tuple[int, ...]  # a hash that does not depend on the order of the rows
    shape: tuple[tuple[int, ...], ...]
    dtype: tuple[str, ...]
    mean: tuple[float, ...]
    norm: tuple[float, ...]
    first: tuple[tuple[float, ...], ...]  # its first values
    source: tuple[tuple[int, bool] | None, ...]
    """The steps since a model made it, and whether this model did; or None."""


@dataclass(frozen=True)
class Tensors:
    """Fingerprints and norms of many tensors."""

    hash: str
    hashes: str  # four letters for each tensor
    packed_norms: str
    norm: float  # of all tensors together
    layer: str = ""  # of an output: the class of the layer that made it

    def hash_of(self, index: int) -> str:
        """Return the short fingerprint of one tensor."""
        return self.hashes[4 * index : 4 * index + 4]

    @cached_property
    def norms(self) -> tuple[float, ...]:
        """Return the norm of each tensor."""
        data = base64.b64decode(self.packed_norms)
        return struct.unpack(f"<{len(data) // 4}f", data)


@dataclass(frozen=True)
class Layout:
    """The names and shapes of the tensors in a fingerprint."""

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Optimizer(Layout):
    """An optimizer as it was just before its first step with these parameters."""

    name: str
    before: int | None  # the number it had before its parameters changed
    settings: tuple[dict[str, Any], ...]
    groups: tuple[int, ...]  # for each parameter, the number of its group
    tied: tuple[tuple[str, ...], ...]
    weights: Tensors


@dataclass(frozen=True)
class LossCall:
    """A loss function of torch.nn.functional: its options, arguments and result."""

    name: str
    options: dict[str, str]
    shape: tuple[int, ...]  # of the prediction
    prediction: Tensors
    names: tuple[str, ...]  # of the other tensors: the target, weights of classes
    arguments: Batch
    autocast: bool
    value: float | None
    spread: tuple[float, ...]
    """The smallest and largest prediction; for cross_entropy, by how much the
    classes' sum is away from 1."""
    ignored: int | None  # the number of targets that ignore_index leaves out


@dataclass(frozen=True)
class Step:
    """One step of one optimizer; some of it once per forward, loss per backward."""

    optimizer: int
    batch: tuple[Batch | None, ...]
    mode: tuple[str, ...]
    precision: tuple[str, ...]
    output: tuple[Tensors | None, ...]
    random: dict[str, str]
    functions: tuple[LossCall, ...]
    loss: tuple[float, ...]
    closure: tuple[float, ...]
    gradient: Tensors
    lr: tuple[float | None, ...]
    state: tuple[float, ...]  # the number of parameters with a state, and its age
    weights: Tensors
    settings: tuple[dict[str, Any], ...]
    buffers: tuple[Layout, Tensors] | None


@dataclass(frozen=True)
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
    unseen: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    crashed: str = ""
    _buffers: Layout | None = None
    _settings: dict[int, tuple[dict[str, Any], ...]] = field(default_factory=dict)

    def add(self, record: Mapping[str, Any]) -> None:
        """Add a record. Raises KeyError, TypeError or ValueError for a damaged one."""
        match record["kind"]:
            case "start":
                self.start = dict(record)
            case "model":
                self.layers = _frozen(record["layers"])
            case "optimizer":
                weights = _tensors(record["weights"])
                self.optimizers.append(_made(Optimizer, record, weights=weights))
                self._settings[len(self.optimizers) - 1] = self.optimizers[-1].settings
            case "buffers":
                self._buffers = _made(Layout, record)
            case "step":
                self.steps.append(self._step(record))
            case "evaluation":
                batch, output = _batch(record["batch"]), _tensors(record["output"])
                evaluation = _made(Evaluation, record, batch=batch, output=output)
                self.evaluations.append(evaluation)
            case "unseen":
                self.unseen.append(str(record["what"]))
            case "end":
                if record["error"]:
                    self.stop(f"{self.name} ended with {record['error']}")
            case kind:
                raise ValueError(f"no such kind of record: {kind}")

    def stop(self, why: str) -> None:
        """Note that the run did not end well."""
        self.crashed = why
        self.remarks.append(why)

    def _step(self, record: Mapping[str, Any]) -> Step:
        number = record["optimizer"]
        if "settings" in record:  # they are written when they change
            self._settings[number] = _frozen(record["settings"])
        buffers = _tensors(record["buffers"])
        functions = [
            _made(
                LossCall,
                call,
                prediction=_tensors(call["prediction"]),
                arguments=_batch(call["arguments"]),
            )
            for call in record["functions"]
        ]
        return _made(
            Step,
            record,
            batch=tuple(map(_batch, record["batch"])),
            output=tuple(map(_tensors, record["output"])),
            functions=tuple(functions),
            gradient=_tensors(record["gradient"]),
            weights=_tensors(record["weights"]),
            settings=self._settings[number],
            buffers=(self._buffers, buffers) if self._buffers and buffers else None,
        )


def read_trace(path: Path, name: str = "") -> Run:
    """Read a trace file; the run has the name of the file, unless another is given.

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
    run = Run(name or path.name)
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
        why = "the run was killed, or the disk was full"
        run.stop(f"{run.name} stops in the middle: {why}")
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
        how = "python path/to/compare/trace --out FILE -- SCRIPT"
        what = "is not a trace" if line else "is empty"
        raise UnusableTraceError(f"{path} {what}; record one with: {how}")
    if version != VERSION:
        raise UnusableTraceError(
            f"{path} has version {version} of the format, this reads version {VERSION};"
            " record the run again"
        )


def _batch(record: Mapping[str, Any] | None) -> Batch | None:
    return None if record is None else _made(Batch, record)


def _tensors(record: Mapping[str, Any] | None) -> Tensors | None:
    return None if record is None else _made(Tensors, {"layer": "", **record})


def _made(kind: type[T], record: Mapping[str, Any], **made: Any) -> T:
    """Make a dataclass of the entries of a record that are called like its fields."""
    names = [f.name for f in fields(kind) if f.name not in made]  # type: ignore[arg-type]
    return kind(**{name: _frozen(record[name]) for name in names}, **made)


def _frozen(value: Any) -> Any:
    """Return a value with tuples in the place of lists."""
    return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else value
