"""A recorded run as Python objects, and how to read it from a file."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

FORMAT = "training trace"
VERSION = 2
NAMELESS = "parameter "  # how the name of one begins that is in no living module
NO_TENSOR = "AAAA"  # the short fingerprint of a gradient that is None


class UnusableTraceError(Exception):
    """The files cannot be compared; the message says why, in one line."""


@dataclass(frozen=True)
class Batch:
    """The tensors that a forward was given: one entry for each."""

    hash: tuple[str | None, ...]  # None: it could not be read
    bag: tuple[int, ...]
    shape: tuple[tuple[int, ...], ...]
    dtype: tuple[str, ...]
    mean: tuple[float, ...]
    norm: tuple[float, ...]
    head: tuple[tuple[float, ...], ...]
    made: tuple[tuple[int, bool] | None, ...]  # steps ago by a model; by the same one


@dataclass(frozen=True)
class Tensors:
    """Fingerprints and norms of many tensors."""

    hash: str
    parts: str  # four letters for each tensor
    packed: str  # its norm
    norm: float
    kind: str = ""  # of an output: the class of the layer that made it

    def part(self, index: int) -> str:
        """Return the short fingerprint of one tensor."""
        return self.parts[4 * index : 4 * index + 4]

    @cached_property
    def norms(self) -> tuple[float, ...]:
        """Return the norm of each tensor."""
        data = base64.b64decode(self.packed)
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
    again: int | None  # the number it had before its parameters changed
    settings: tuple[dict[str, Any], ...]
    groups: tuple[int, ...]  # for each parameter, the number of its group
    tied: tuple[tuple[str, ...], ...]
    weights: Tensors


@dataclass(frozen=True)
class LossCall:
    """A loss function of torch.nn.functional: its options, arguments and result."""

    name: str
    options: dict[str, str]
    names: tuple[str, ...]
    arguments: Batch
    autocast: bool
    value: float | None
    spread: tuple[float, ...]  # smallest, largest prediction; its sum's distance to 1
    ignored: int | None


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
                self.layers = tuple(map(str, record["layers"]))
            case "optimizer":
                self.optimizers.append(_optimizer(record))
            case "buffers":
                self._buffers = Layout(*_layout(record))
            case "step":
                self.steps.append(self._step(record))
            case "evaluation":
                self.evaluations.append(_evaluation(record))
            case "unseen":
                self.unseen.append(str(record["what"]))
            case "end":
                if record["error"]:
                    self.crashed = f"{self.name} ended with {record['error']}"
                    self.remarks.append(self.crashed)
            case kind:
                raise ValueError(f"no such kind of record: {kind}")

    def _step(self, record: Mapping[str, Any]) -> Step:
        number = int(record["optimizer"])
        if not 0 <= number < len(self.optimizers):
            raise ValueError("a step of an optimizer that was not introduced")
        before = self._settings.get(number, self.optimizers[number].settings)
        now = tuple(map(dict, record.get("settings", before)))
        self._settings[number] = now
        buffers = record["buffers"]
        layout = self._buffers
        if buffers is not None and layout is None:
            raise ValueError("buffers that were not introduced")
        return Step(
            optimizer=number,
            batch=tuple(b and _batch(b) for b in record["batch"]),
            mode=tuple(map(str, record["mode"])),
            precision=tuple(map(str, record["precision"])),
            output=tuple(o and _tensors(o) for o in record["output"]),
            random=dict(record["random"]),
            functions=tuple(map(_loss_call, record["functions"])),
            loss=tuple(map(float, record["loss"])),
            closure=tuple(map(float, record["closure"])),
            gradient=_tensors(record["gradient"]),
            lr=tuple(None if lr is None else float(lr) for lr in record["lr"]),
            state=tuple(map(float, record["state"])),
            weights=_tensors(record["weights"]),
            settings=now,
            buffers=(layout, _tensors(buffers)) if buffers and layout else None,
        )


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
        run.crashed = f"{path.name} stops in the middle: the run was killed"
        run.remarks.append(run.crashed)
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


def _batch(record: Mapping[str, Any]) -> Batch:
    return Batch(
        hash=tuple(record["hash"]),
        bag=tuple(int(bag, 16) for bag in record["bag"]),
        shape=_shapes(record["shape"]),
        dtype=tuple(map(str, record["dtype"])),
        mean=tuple(map(float, record["mean"])),
        norm=tuple(map(float, record["norm"])),
        head=tuple(tuple(map(float, head)) for head in record["head"]),
        made=tuple(m and (int(m[0]), bool(m[1])) for m in record["made"]),
    )


def _tensors(record: Mapping[str, Any]) -> Tensors:
    whole, parts, norms = (str(record[key]) for key in ("hash", "parts", "norms"))
    kind = str(record.get("class", ""))
    return Tensors(whole, parts, norms, float(record["norm"]), kind)


def _shapes(shapes: Sequence[Sequence[int]]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(map(int, shape)) for shape in shapes)


def _layout(record: Mapping[str, Any]) -> tuple[Any, Any]:
    return tuple(map(str, record["names"])), _shapes(record["shapes"])


def _optimizer(record: Mapping[str, Any]) -> Optimizer:
    sizes = enumerate(record["sizes"])
    return Optimizer(
        *_layout(record),
        name=str(record["class"]),
        again=record["again"],
        settings=tuple(map(dict, record["settings"])),
        groups=tuple(group for group, size in sizes for _ in range(size)),
        tied=tuple(map(tuple, record["tied"])),
        weights=_tensors(record["weights"]),
    )


def _loss_call(record: Mapping[str, Any]) -> LossCall:
    return LossCall(
        name=str(record["name"]),
        options=dict(record["options"]),
        names=tuple(record["names"]),
        arguments=_batch(record["arguments"]),
        autocast=bool(record["autocast"]),
        value=record["value"],
        spread=tuple(map(float, record["spread"])),
        ignored=record["ignored"],
    )


def _evaluation(record: Mapping[str, Any]) -> Evaluation:
    batch, output = record["batch"], record["output"]
    return Evaluation(
        after=int(record["after"]),
        batch=batch and _batch(batch),
        mode=str(record["mode"]),
        precision=str(record["precision"]),
        random=dict(record["random"]),
        output=output and _tensors(output),
    )
