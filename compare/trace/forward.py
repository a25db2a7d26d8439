"""One batch on its way through a model, seen from inside the modules' hooks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.loss import _Loss

from compare.trace import snapshot
from compare.trace.snapshot import Record


class Forward:
    """A call of a model, or of its parts one after the other, with one batch.

    The batch is what the first innermost module is given. That is the same whether a
    loop calls a whole model or only its layers, and it is the data after everything
    that was done to it on the way.
    """

    def __init__(self, root: nn.Module, after: int) -> None:
        self.root = root
        self.seen = {root}  # and what was called inside a module
        self.after = after  # how many optimizer steps were done when it began
        self.with_grad = torch.is_grad_enabled()
        self.layers: list[str] = []
        self.nodes: set[int] = set()  # its outputs' places in the autograd graph
        self._random = snapshot.random_state()
        self._precision = ""
        self._batch: snapshot.BatchSummary | None = None
        self._batch_key: object = None
        self._batch_found = False
        self._modes: dict[str, set[str]] = {}
        self._last: Tensor | None = None
        self._output: snapshot.TensorsSummary | None = None

    def enter(self, args: tuple[Any, ...]) -> None:
        """Take a module's inputs for the batch, until an innermost module returned."""
        if self._batch_found or not (inputs := snapshot.tensors_in(args)):
            return
        # a module often hands its input on as it is: no need to read it twice
        key = [(t.data_ptr(), t.dtype, t.numel(), _version(t)) for t in inputs]
        if key != self._batch_key:
            self._batch = snapshot.BatchSummary(inputs)
            self._batch_key = key
        self._precision = snapshot.precision(self.root)

    def leave_innermost(self, module: nn.Module, output: Any, describe: bool) -> None:
        """Note the mode of a module that called no other, and what it made."""
        self._batch_found = True
        kind = type(module)
        if isinstance(module, _Loss) or kind.__module__.startswith("torchmetrics"):
            return  # a loss or a metric is in no mode, and not every loop has it
        name = kind.__name__
        self._modes.setdefault("train" if module.training else "eval", set()).add(name)
        if describe:
            self.layers.append(f"{name}({module.extra_repr()})")
        if next(module.parameters(), None) is not None:
            self._last = next(iter(snapshot.tensors_in(output)), None)

    def leave(self, output: Any) -> None:
        """Note the output, as the call from outside any module returns."""
        for tensor in snapshot.tensors_in(output):
            if tensor.grad_fn is not None:
                self.nodes.add(tensor.grad_fn._sequence_nr())
        may_be_evaluation = not (self.with_grad and self.root.training)
        if may_be_evaluation and self._last is not None:
            self._output = snapshot.TensorsSummary([self._last])
        self._last = None

    def record(self) -> Record:
        """Return what the records of a step and of an evaluation have in common."""
        return {
            "batch": None if self._batch is None else self._batch.record(),
            "mode": self._mode(),
            "precision": self._precision,
            "random": self._random,
        }

    def evaluation(self) -> Record:
        """Return the record of this forward as an evaluation batch."""
        output = None if self._output is None else self._output.record()
        return {"after": self.after, **self.record(), "output": output}

    def _mode(self) -> str:
        """Return "train", "eval" or who is what: "eval: Dropout; train: Linear"."""
        if len(self._modes) == 1:
            return next(iter(self._modes))
        parts = sorted(self._modes.items())
        return "; ".join(f"{mode}: {', '.join(sorted(who))}" for mode, who in parts)


def _version(tensor: Tensor) -> object:
    """Return what changes when the tensor is written to."""
    return object() if tensor.is_inference() else tensor._version
