"""Watch a training run through PyTorch's own hooks and write a record of each step.

Nothing here knows a training loop. What happens is seen from below:

- A forward begins when a module with parameters is called from outside any module. It
  goes on (`decoder(encoder(x))` is one) until the same module is called again, or one
  that was called inside of it (a model alone, after a wrapper such as DDP), or
  gradients are switched on or off, or a backward or an optimizer's step comes.
- A call of `backward` says which forwards were for training, and gives the loss.
- An optimizer's step ends the record. Gradients are read just before the update: where
  the loop runs inside `step(closure)`, as in a Trainer, when the closure returns.
- Forwards without gradients, or that no backward used, were evaluation.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from torch.optim import Optimizer
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from compare.trace import snapshot
from compare.trace.forward import Forward
from compare.trace.snapshot import Record, TensorsSummary


class Recorder:
    """Calls `write` with one record (a dict that JSON can hold) after the other."""

    def __init__(self, write: Callable[[Record], None]) -> None:
        self.steps = 0
        self._write = write
        self._owner = (os.getpid(), threading.get_ident())
        self._calls: list[int] = []  # the modules being called, numbered
        self._count = 0
        self._skipping = False  # inside a module that is no model
        self._in_backward = False
        self._forward: Forward | None = None  # still going on
        self._undecided: list[Forward] = []  # training, if a backward comes
        self._training: list[Forward] = []  # of the coming optimizer step
        self._losses: list[Tensor] = []
        self._gradients: WeakKeyDictionary[Optimizer, TensorsSummary]
        self._gradients = WeakKeyDictionary()
        self._optimizers: WeakKeyDictionary[Optimizer, int] = WeakKeyDictionary()
        self._described = False
        self._started = False

    def start(self) -> None:
        """Put the hooks in place: from now on everything is recorded."""
        self._handles = [
            register_module_forward_pre_hook(self._before_module),
            register_module_forward_hook(self._after_module, always_call=True),
            register_optimizer_step_pre_hook(self._before_step),
            register_optimizer_step_post_hook(self._after_step),
        ]
        self._real_backward = torch.autograd.backward
        torch.autograd.backward = self._backward

    def stop(self) -> None:
        """Take the hooks away and write what was still open."""
        for handle in self._handles:
            handle.remove()
        torch.autograd.backward = self._real_backward
        self._end_forward()
        self._evaluated(self._undecided)

    def _not_ours(self) -> bool:
        """Tell a compiler's or a worker's call, and layers that backward runs again."""
        if torch.compiler.is_compiling() or torch.jit.is_tracing():  # type: ignore[attr-defined]
            return True
        if self._in_backward:
            return True
        return self._owner != (os.getpid(), threading.get_ident())

    def _before_module(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        if self._not_ours():
            return
        if not self._calls:
            self._begin_forward(module)
        elif self._forward:
            self._forward.seen.add(module)
        self._count += 1
        self._calls.append(self._count)
        if self._forward and not self._skipping:
            self._forward.enter(args)

    def _after_module(self, module: nn.Module, _: object, output: Any) -> None:
        if self._not_ours() or not self._calls:
            return
        number = self._calls.pop()
        if self._forward and not self._skipping:
            if number == self._count:  # it called no other module
                self._forward.leave_innermost(module, output, not self._described)
            if not self._calls:
                self._forward.leave(output)

    def _begin_forward(self, module: nn.Module) -> None:
        parameter = next(module.parameters(), None)
        self._skipping = parameter is None  # a transform of data, a loss, a metric
        if parameter is None:
            return
        self._start_once(parameter.device)
        now, with_grad = self._forward, torch.is_grad_enabled()
        if now is None or now.with_grad != with_grad or module in now.seen:
            self._end_forward()
            self._forward = Forward(module, self.steps)

    def _end_forward(self) -> None:
        forward, self._forward = self._forward, None
        if forward and forward.with_grad:
            self._undecided.append(forward)
        elif forward:
            self._evaluated([forward])

    def _evaluated(self, forwards: Sequence[Forward]) -> None:
        for forward in forwards:
            self._write({"kind": "evaluation", **forward.evaluation()})

    def _backward(self, tensors: Any, *args: Any, **kwargs: Any) -> None:
        if self._not_ours():
            return self._real_backward(tensors, *args, **kwargs)
        self._end_forward()
        losses = snapshot.tensors_in(tensors)
        used = self._undecided
        if len(used) > 1:
            nodes = _graph(losses)
            used = [f for f in self._undecided if f.nodes & nodes]
        self._undecided = [f for f in self._undecided if f not in used]
        self._training += used
        self._losses += [loss.detach().sum(dtype=torch.float64) for loss in losses]
        self._in_backward = True
        try:
            return self._real_backward(tensors, *args, **kwargs)
        finally:
            self._in_backward = False

    def _before_step(
        self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        if self._not_ours():
            return None
        self._introduce_once(optimizer)
        self._gradients.pop(optimizer, None)  # of a step that raised
        positional = len(args) > 1  # args[0] is the optimizer
        closure = args[1] if positional else kwargs.get("closure")
        if closure is None:
            self._read_gradients(optimizer)
            return None

        def watched(*inner: Any, **named: Any) -> Any:
            result = closure(*inner, **named)
            if optimizer not in self._gradients:  # LBFGS calls again: keep the first
                self._read_gradients(optimizer)
            return result

        if positional:
            return (args[0], watched, *args[2:]), kwargs
        return args, {**kwargs, "closure": watched}

    def _read_gradients(self, optimizer: Optimizer) -> None:
        gradients = [p.grad for p in _parameters(optimizer)]
        self._gradients[optimizer] = TensorsSummary(gradients)

    def _after_step(self, optimizer: Optimizer, args: object, kwargs: object) -> None:
        del args, kwargs
        if optimizer not in self._gradients:
            return
        self._end_forward()
        weights = TensorsSummary(_parameters(optimizer))
        if not self._losses:  # gradients that came without a backward we could see
            self._training, self._undecided = self._undecided, []
        self._evaluated(self._undecided)
        if self._training and not self._described:
            self._described = True
            self._write({"kind": "model", "layers": self._training[0].layers})
        self._write(
            {
                "kind": "step",
                "step": self.steps,
                "optimizer": self._optimizers[optimizer],
                **_together([forward.record() for forward in self._training]),
                "loss": [loss.item() for loss in self._losses],
                "gradient": self._gradients.pop(optimizer).record(),
                "lr": [float(group["lr"]) for group in optimizer.param_groups],
                "weights": weights.record(),
            }
        )
        self.steps += 1
        self._undecided, self._training, self._losses = [], [], []

    def _introduce_once(self, optimizer: Optimizer) -> None:
        if optimizer in self._optimizers:
            return
        parameters = _parameters(optimizer)
        self._start_once(parameters[0].device)
        self._optimizers[optimizer] = len(self._optimizers)
        self._write(
            {
                "kind": "optimizer",
                "optimizer": self._optimizers[optimizer],
                "class": type(optimizer).__name__,
                "settings": snapshot.settings(optimizer),
                "names": snapshot.parameter_names(parameters),
                "shapes": [list(p.shape) for p in parameters],
                "weights": TensorsSummary(parameters).record(),
            }
        )

    def _start_once(self, device: torch.device) -> None:
        if not self._started:
            self._started = True
            self._write({"kind": "start", **snapshot.surroundings(device)})


def _parameters(optimizer: Optimizer) -> list[Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"]]


def _graph(losses: Sequence[Tensor]) -> set[int]:
    """Return the numbers of the autograd nodes that the losses were made of."""
    numbers: set[int] = set()
    waiting = [loss.grad_fn for loss in losses]
    while waiting:
        node = waiting.pop()
        if node is not None and node._sequence_nr() not in numbers:
            numbers.add(node._sequence_nr())
            waiting += [following for following, _ in node.next_functions]
    return numbers


def _together(forwards: Sequence[Record]) -> Record:
    """Put the forwards of one step into one record: each batch once, in order."""
    batches = [f["batch"] for f in forwards if f["batch"] is not None]
    return {
        "batch": [b for i, b in enumerate(batches) if i == 0 or b != batches[i - 1]],
        "mode": " / ".join(sorted({f["mode"] for f in forwards})),
        "precision": " / ".join(sorted({f["precision"] for f in forwards})),
        "random": forwards[0]["random"] if forwards else {},
    }
