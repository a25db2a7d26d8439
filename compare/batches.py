"""Which calls of modules make one batch, and whether it was trained on or evaluated.

The first module with parameters that is called opens a batch; the tensors it is called
with are the batch's inputs. Later calls belong to it until the same module is called
again, a backward comes, or an optimizer steps. So it does not matter whether a script
calls the whole model or, one after the other, its encoder and its decoder. A batch with
no backward was evaluation: at once where gradients are off, otherwise as soon as that
is clear.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch._C._functorch import is_functorch_wrapped_tensor as _is_wrapped
from torch._subclasses import FakeTensor
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.loss import _Loss

from compare import environment
from compare.fingerprint import Prints, fingerprint
from compare.tracefile import Record, number


@dataclass
class Batch:
    """A batch whose calls come in, or that waits for a backward."""

    starter: nn.Module
    grad: bool
    training: bool
    rng: dict[str, str]
    precision: str = "off"
    inputs: Prints | None = None
    mean: Tensor | None = None
    shape: tuple[int, ...] = ()
    train: set[str] = field(default_factory=set)  # kinds of layers called in this mode
    eval: set[str] = field(default_factory=set)
    answer: Tensor | None = None
    output: Prints | None = None

    def mode(self) -> str:
        """Say "train", "eval", or which kinds of layers were in which mode."""
        if not self.train and not self.eval:  # a compiled model hides its layers
            for module in self.starter.modules():
                self.note(module)
        if not self.train or not self.eval:
            return "train" if self.train else "eval"
        train, eval_ = ", ".join(sorted(self.train)), ", ".join(sorted(self.eval))
        return f"train: {train}; eval: {eval_}"

    def note(self, module: nn.Module) -> None:
        """Take note of the mode a layer is in."""
        (self.train if module.training else self.eval).add(type(module).__name__)

    def record(self) -> Record:
        """Give the batch as the trace file holds it."""
        record: Record = {"inputs": [], "norm": 0.0, "mean": 0.0, "shape": []}
        if self.inputs is not None and self.mean is not None:
            record = {
                "inputs": [f"{word:016x}" for word in self.inputs.words().tolist()],
                "norm": number(self.inputs.norm()),
                "mean": number(float(self.mean)),
                "shape": list(self.shape),
            }
        record |= {"mode": self.mode(), "precision": self.precision, "rng": self.rng}
        if self.output is not None:
            record["output"] = {
                "bits": self.output.combined(),
                "norm": number(self.output.norm()),
            }
        return record


class Batches:
    """Gathers the calls of modules into batches.

    Args:
        begin: called with the device before the first batch.
        evaluated: called with the record of each evaluation batch.
    """

    def __init__(
        self,
        begin: Callable[[torch.device], None],
        evaluated: Callable[[Record], None],
    ):
        self._begin = begin
        self._evaluated = evaluated
        self._open: Batch | None = None
        self._waiting: list[Batch] = []

    def on_call(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        """Take note that a module is called."""
        batch = self._open
        grad = torch.is_grad_enabled()
        if batch is None or module is batch.starter or (grad and not batch.grad):
            # losses, metrics and transforms are modules too, but without parameters
            if next(module.parameters(), None) is None:
                return
            self._close()
            if grad and module.training:
                self._flush(training=False)
            batch = Batch(module, grad, module.training, environment.rng())
            self._open = batch
        if batch.inputs is None and (tensors := list(_tensors(args))):
            self._begin(tensors[0].device)
            batch.precision = environment.precision(tensors[0].device)
            batch.inputs = fingerprint(tensors)
            batch.mean = _mean(tensors[0])
            batch.shape = tuple(tensors[0].shape)
        if _has_state(module):
            batch.note(module)

    def on_return(self, module: nn.Module, output: Any) -> None:
        """Keep the latest answer of a layer: in the end it is the model's."""
        batch = self._open
        if batch is None or (batch.grad and batch.training):
            return
        if _has_state(module) or (batch.answer is None and module is batch.starter):
            for tensor in _tensors(output):
                batch.answer = tensor.detach()
                break

    def take(self) -> list[Record]:
        """Give the batches a backward or a step has come for, and forget them."""
        self._close()
        if not self._waiting:
            return []
        self._flush(training=not self._waiting[-1].training)
        taken, self._waiting = self._waiting, []
        return [batch.record() for batch in taken]

    def finish(self) -> None:
        """No step will come any more: what waits was evaluation."""
        self._close()
        self._flush(training=True)
        self._flush(training=False)

    def _close(self) -> None:
        batch, self._open = self._open, None
        if batch is None:
            return
        if batch.answer is not None:
            batch.output = fingerprint([batch.answer])
            batch.answer = None
        if batch.grad:
            self._waiting.append(batch)
        else:
            self._evaluated(batch.record())

    def _flush(self, *, training: bool) -> None:
        for batch in [b for b in self._waiting if b.training is training]:
            self._waiting.remove(batch)
            self._evaluated(batch.record())


def _has_state(module: nn.Module) -> bool:
    """Whether the module's mode matters: a criterion, say, is never put into eval."""
    if isinstance(module, _Loss):
        return False
    return bool(module._parameters or module._buffers or isinstance(module, _DropoutNd))


def _mean(tensor: Tensor) -> Tensor:
    values = tensor.detach()
    return (values.abs() if values.is_complex() else values).float().mean()


def _tensors(value: Any) -> Iterator[Tensor]:
    """Find the tensors with bytes of their own in nested tuples, lists and mappings."""
    if isinstance(value, Tensor):
        if not (value.is_meta or isinstance(value, FakeTensor) or _is_wrapped(value)):
            yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)
