"""One batch on its way through a model, seen from inside the modules' hooks."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import Any
from weakref import ref

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import CheckpointFunction

from . import snapshot
from .snapshot import Record


class Forward:
    """A call of a model, or of its parts one after the other, with one batch.

    The batch is every tensor that the outermost call is given, and what later calls
    are given that no call before has made.
    """

    def __init__(self, root: nn.Module, after: int, training: bool) -> None:
        self.roots = [root]  # what was called from outside any module
        self.seen = {root}  # and what was called inside a module
        self.after = after  # how many optimizer steps were done when it began
        self.with_grad = training
        self.layers: list[str] = []
        self._outputs: list[ref[Tensor]] = []
        self._nodes: set[int] = set()  # its outputs' places in the autograd graph
        self._random = snapshot.random_state()
        self._precision = snapshot.precision(next(root.parameters()))
        self._batches: list[snapshot.BatchSummary] = []
        self._modes: dict[str, set[str]] = {}
        self._last: tuple[str, Tensor] | None = None
        self._output: tuple[str, snapshot.TensorsSummary] | None = None

    def add_inputs(
        self,
        inputs: Sequence[Tensor],
        sources: Sequence[list[int] | None],
        reader: snapshot.Reader,
    ) -> None:
        """Take the tensors of a call from outside any module.

        `sources` says of each tensor which model made it, as `Batch.source` does.
        """
        if self._batches:  # what went from one part to the next is no batch
            inputs = [
                tensor
                for tensor, source in zip(inputs, sources, strict=True)
                if source is None and tensor.grad_fn is None
            ]
            sources = [None] * len(inputs)
        if inputs:
            self._batches.append(reader.read(inputs, sources))

    def leave_innermost(self, module: nn.Module, output: Any) -> None:
        """Note the mode of a module that called no other, and what it made."""
        mode = "train" if module.training else "eval"
        name = type(module).__name__
        self._modes.setdefault(mode, set()).add(name)
        if has_parameters(module):
            found = snapshot.tensors_in(output)
            self._last = (name, found[0]) if found else None

    def leave(self, output: Any, reader: snapshot.Reader) -> None:
        """Note the output, as the call from outside any module returns."""
        found = snapshot.tensors_in(output)
        if self._last:
            found.append(self._last[1])
        self._nodes |= {t.grad_fn._sequence_nr() for t in found if t.grad_fn}
        self._outputs = [ref(t) for t in found]
        if self._last:
            name, tensor = self._last
            self._output = name, reader.read_output(tensor)
        self._last = None

    def nodes(self) -> set[int]:
        """Return the outputs' places in the autograd graph, as far as known by now.

        Checkpointing makes an output without gradients, and gives it a place later.
        """
        living = [t for r in self._outputs if (t := r()) is not None]
        return self._nodes | {t.grad_fn._sequence_nr() for t in living if t.grad_fn}

    def record(self) -> Record:
        """Return what the records of a step and of an evaluation have in common."""
        batches = [b.record() for b in self._batches]
        keys = batches[0] if batches else {}
        joined = {key: [x for b in batches for x in b[key]] for key in keys}
        output = None
        if self._output:
            output = {**self._output[1].record(), "layer": self._output[0]}
        return {
            "batch": joined or None,
            "mode": self._mode(),
            "precision": self._precision,
            "random": self._random,
            "output": output,
        }

    def evaluation(self) -> Record:
        """Return the record of this forward as an evaluation batch."""
        return {"after": self.after, **self.record()}

    def _mode(self) -> str:
        """Return "train", "eval" or who is what: "eval: Dropout; train: Linear"."""
        if len(self._modes) == 1:
            return next(iter(self._modes))
        parts = sorted(self._modes.items())
        return "; ".join(f"{mode}: {', '.join(sorted(who))}" for mode, who in parts)


def has_parameters(module: nn.Module) -> bool:
    """Tell whether a module, or one inside it, has a parameter."""
    if any(parameter is not None for parameter in module._parameters.values()):
        return True
    children = [child for child in module._modules.values() if child is not None]
    return any(map(has_parameters, children))


def describe(module: nn.Module) -> str:
    """Return a layer as print shows it, without the addresses of objects."""
    try:
        text = f"{type(module).__name__}({module.extra_repr()})"
    except Exception:  # nobody may ever have printed this model
        text = f"{type(module).__name__}(?)"
    return re.sub(r" at 0x[0-9a-fA-F]+", "", text)


def graph(losses: Sequence[Tensor]) -> set[int]:
    """Return the numbers of the autograd nodes that the losses were made of."""
    numbers: set[int] = set()
    waiting = [loss.grad_fn for loss in losses]
    while waiting:
        node = waiting.pop()
        if node is not None and node._sequence_nr() not in numbers:
            numbers.add(node._sequence_nr())
            waiting += [following for following, _ in node.next_functions]
    return numbers


def in_checkpoint() -> bool:
    """Tell whether reentrant checkpointing has switched gradients off for now."""
    frame = sys._getframe(1)
    while frame := frame.f_back:  # type: ignore[assignment]
        if frame.f_code is CheckpointFunction.forward.__code__:
            return not torch.is_grad_enabled()
    return False
