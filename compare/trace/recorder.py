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

Recording never breaks a script: what cannot be read is written as not seen, with one
warning.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, wraps
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn.modules.loss import _Loss
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from torch.nn.utils.parametrize import ParametrizationList
from torch.optim import Optimizer
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from . import snapshot
from .forward import Forward, describe, graph, has_parameters, in_checkpoint
from .losses import Losses, LossSummary
from .snapshot import Reader, Record, TensorsSummary

_WAITING = 4096  # forwards, losses and functions that are kept for a step to come


def _safe(hook: Callable[..., Any]) -> Callable[..., Any]:
    """Let a hook do nothing where it must be silent, and no harm where it fails."""

    @wraps(hook)
    def guarded(self: Recorder, *args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_compiling() or self.must_be_silent():
            return None
        try:
            return hook(self, *args, **kwargs)
        except Exception as error:
            self.unseen(f"{type(error).__name__}: {error}".splitlines()[0])
            return None

    return guarded


@dataclass(slots=True)
class _Call:
    """A call of a module that is going on."""

    is_seen: bool  # a loss, a metric or a transform is not
    inside_is_seen: bool
    is_innermost: bool = True  # it has called no other module that is seen


_NOT_SEEN = _Call(is_seen=False, inside_is_seen=False)


class Recorder:
    """Calls `write` with one record (a dict that JSON can hold) after the other."""

    def __init__(self, write: Callable[[Record], None]) -> None:
        self.steps = 0
        self._write = write
        self._owner = (os.getpid(), threading.get_ident())
        self._unseen: set[str] = set()
        self._reader = Reader(self.unseen)
        self._calls: list[_Call] = []
        self._backwards = 0
        self._in_backward = False
        self._forward: Forward | None = None  # still going on
        self._undecided: list[Forward] = []  # training, if a backward comes
        self._training: list[Forward] = []  # of the coming optimizer step
        self._losses: list[Tensor] = []
        self._called: list[LossSummary] = []  # loss functions, since the last backward
        self._functions: list[LossSummary] = []  # those that a backward used
        self._outputs: dict[int, tuple[StorageWeakRef, int, nn.Module]] = {}
        self._gradients: WeakKeyDictionary[Optimizer, list[TensorsSummary]]
        self._gradients = WeakKeyDictionary()
        self._norms: list[float] = []
        self._introduced = 0  # optimizers; their numbers are never used again
        self._optimizers: WeakKeyDictionary[Optimizer, tuple[int, list[int]]]
        self._optimizers = WeakKeyDictionary()
        self._settings: dict[int, list[Record]] = {}
        self._states: dict[int, list[float]] = {}
        self._buffers: list[str] = []
        self._described = False
        self._started = False
        self._stand_ins = Losses(self._loss_called)

    def start(self) -> None:
        """Put the hooks in place: from now on everything is recorded."""
        self._handles = [
            register_module_forward_pre_hook(self._before_module),
            register_module_forward_hook(self._after_module, always_call=True),
            register_optimizer_step_pre_hook(self._before_step),
            register_optimizer_step_post_hook(self._after_step),
        ]
        self._real = torch.autograd.backward, torch.autograd.grad
        torch.autograd.backward = self._watched(self._real[0], "tensors")
        torch.autograd.grad = self._watched(self._real[1], "outputs")
        self._stand_ins.start()

    def stop(self) -> None:
        """Take the hooks away and write what was still open."""
        for handle in self._handles:
            handle.remove()
        torch.autograd.backward, torch.autograd.grad = self._real
        self._stand_ins.stop()
        if self._owner[0] != os.getpid():
            return
        self._end_forward()
        self._evaluated(self._undecided)
        if self._backwards and not self.steps:
            self.unseen(
                f"the updates: gradients were calculated {self._backwards} times, and"
                " no torch.optim.Optimizer took a step"
            )

    def unseen(self, what: str) -> None:
        """Write once that something was not seen."""
        if what not in self._unseen:
            if not self._unseen:
                print(f"trace: not seen: {what}", file=sys.stderr)
            self._unseen.add(what)
            self._write({"kind": "unseen", "what": what})

    def must_be_silent(self) -> bool:
        """Tell whether nothing is recorded: a tracer, a worker or backward calls."""
        if self._in_backward or torch.jit.is_tracing():  # type: ignore[attr-defined]
            return True
        if self._owner == (os.getpid(), threading.get_ident()):
            return torch.cuda.is_initialized() and (
                torch.cuda.is_current_stream_capturing()
            )
        if self._owner[0] == os.getpid() and not self._calls:
            self.unseen("what another thread calculates")
        return True

    @_safe
    def _before_module(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        kind: Any = type(module)
        outer = self._calls[-1] if self._calls else None
        self._calls.append(_NOT_SEEN)  # unless the lines below say otherwise
        if (outer and not outer.inside_is_seen) or _is_no_model(kind):
            return
        if outer:
            outer.is_innermost = False
            if self._forward:
                self._forward.seen.add(module)
        elif not has_parameters(module):  # a transform, an activation
            if self._forward and not self._described:
                self._forward.layers.append(f"({describe(module)})")
            return
        elif not self._take_inputs(module, args):
            return
        # what torch.compile calls inside is not the model's
        opaque = kind.__name__ == "OptimizedModule"
        self._calls[-1] = _Call(is_seen=True, inside_is_seen=not opaque)

    def _take_inputs(self, module: nn.Module, args: tuple[Any, ...]) -> bool:
        """Begin a forward, or go on with one; tell whether its inputs can be read."""
        inputs = snapshot.inputs_of(module, args, _keywords())
        if any(map(_is_of_functorch, inputs)):
            self.unseen("gradients that torch.func takes")
            return False
        forward = self._forward_of(module, inputs)
        sources = [self._source(tensor, module) for tensor in inputs]
        forward.add_inputs(inputs, sources, self._reader)
        return True

    @_safe
    def _after_module(self, module: nn.Module, _: object, output: Any) -> None:
        if not self._calls:
            return
        call = self._calls.pop()
        if not call.is_seen or not self._forward:
            return
        if call.is_innermost:
            self._forward.leave_innermost(module, output)
            if not self._described:
                text = describe(module)
                self._forward.layers.append(
                    text if has_parameters(module) else f"({text})"
                )
        if not self._calls:
            self._forward.leave(output, self._reader)
            for tensor in snapshot.tensors_in(output):
                if tensor.layout == torch.strided and not tensor.is_nested:
                    reference = StorageWeakRef(tensor.untyped_storage())
                    self._outputs[reference.cdata] = reference, self.steps, module

    def _source(self, tensor: Tensor, module: nn.Module) -> list[int] | None:
        """Return how many steps ago a model made this, and whether it was the same."""
        if tensor.layout != torch.strided or tensor.is_nested or not self._outputs:
            return None
        reference = StorageWeakRef(tensor.untyped_storage())
        if found := self._outputs.get(reference.cdata):
            return [self.steps - found[1], int(found[2] is module)]
        return None

    def _forward_of(self, module: nn.Module, inputs: Sequence[Tensor]) -> Forward:
        """Return the forward that a call from outside any module belongs to."""
        self._start_once(next(module.parameters()).device)
        now, with_grad = self._forward, torch.is_grad_enabled() or in_checkpoint()
        # a part that is called again goes on with what it, or a part before, has made
        fresh = with_grad and not any(tensor.grad_fn for tensor in inputs)
        again = now and (module in now.seen or (module in now.roots and fresh))
        if now is None or now.with_grad != with_grad or again:
            self._end_forward()
            self._forward = now = Forward(module, self.steps, with_grad)
        else:
            now.roots.append(module)
        return now

    def _end_forward(self) -> None:
        forward, self._forward = self._forward, None
        if forward and forward.with_grad:
            self._undecided.append(forward)
            if len(self._undecided) > _WAITING:
                self._evaluated([self._undecided.pop(0)])
        elif forward:
            self._evaluated([forward])
            self._reader.forget()

    def _evaluated(self, forwards: Sequence[Forward]) -> None:
        for forward in forwards:
            self._write({"kind": "evaluation", **forward.evaluation()})

    @_safe
    def _loss_called(self, name: str, arguments: Record, result: Tensor) -> None:
        self._called.append(LossSummary(name, arguments, result, self._reader))
        del self._called[:-_WAITING]

    def _watched(self, real: Callable[..., Any], name: str) -> Callable[..., Any]:
        """Make a stand-in for a function that calculates gradients.

        `name` is that of its first parameter.
        """

        @wraps(real)
        def calculate(*args: Any, **kwargs: Any) -> Any:
            outputs = args[0] if args else kwargs[name]
            if not self._used(outputs, are_losses=name == "tensors"):
                return real(*args, **kwargs)
            self._in_backward = True
            try:
                return real(*args, **kwargs)
            finally:
                self._in_backward = False

        return calculate

    @_safe
    def _used(self, outputs: Any, are_losses: bool) -> bool:
        """Note that gradients are calculated; return whether that was recorded."""
        self._backwards += 1
        self._end_forward()
        found = snapshot.tensors_in(outputs)
        used, functions = self._undecided, self._called
        if len(used) > 1 or len(functions) > 1:
            nodes = graph(found)
            used = [f for f in used if not (own := f.nodes()) or own & nodes]
            functions = [f for f in functions if f.node in nodes]
        self._functions += functions
        self._called = []
        self._reader.forget()
        self._undecided = [f for f in self._undecided if f not in used]
        self._training += used
        if are_losses:
            self._losses += [x.detach().sum(dtype=torch.float64) for x in found]
        for kept in (self._training, self._losses, self._functions):
            del kept[:-_WAITING]
        return True

    @_safe
    def _before_step(
        self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        number = self._introduce(optimizer)
        self._states[number] = _state(optimizer)
        self._gradients.pop(optimizer, None)  # of a step that raised
        self._norms = []
        positional = len(args) > 1  # args[0] is the optimizer
        closure = args[1] if positional else kwargs.get("closure")
        if closure is None:
            self._read_gradients(optimizer)
            return None

        def watched(*inner: Any, **named: Any) -> Any:
            result = closure(*inner, **named)
            self._read_gradients(optimizer)
            return result

        if positional:
            return (args[0], watched, *args[2:]), kwargs
        return args, {**kwargs, "closure": watched}

    @_safe
    def _read_gradients(self, optimizer: Optimizer) -> None:
        summary = TensorsSummary([p.grad for p in _parameters(optimizer)])
        self._gradients.setdefault(optimizer, []).append(summary)
        if len(self._gradients[optimizer]) > 1:  # LBFGS calls again: keep the first
            self._norms.append(self._gradients[optimizer].pop().norm())

    @_safe
    def _after_step(self, optimizer: Optimizer, *_: object) -> None:
        if not (gradients := self._gradients.pop(optimizer, None)):
            return
        self._end_forward()
        weights = TensorsSummary(_parameters(optimizer))
        if not self._losses and not self._training:  # no backward that we could see
            self._training, self._undecided = self._undecided, []
        self._evaluated(self._undecided)
        if self._training and not self._described:
            self._described = True
            self._write({"kind": "model", "layers": self._training[0].layers})
        number = self._optimizers[optimizer][0]
        gradient = gradients[0].record()
        step: Record = {
            "kind": "step",
            "step": self.steps,
            "optimizer": number,
            **_together([f.record() for f in self._training], bool(self._norms)),
            "functions": [function.record() for function in self._functions],
            "loss": [loss.item() for loss in self._losses],
            "closure": [gradient["norm"], *self._norms] if self._norms else [],
            "gradient": gradient,
            "lr": [_number(group.get("lr")) for group in optimizer.param_groups],
            "state": self._states[number],
            "weights": weights.record(),
        }
        now = snapshot.settings(optimizer)
        if now != self._settings[number]:
            step["settings"] = self._settings[number] = now
        self._write({**step, "buffers": self._read_buffers()})
        self.steps += 1
        self._undecided, self._training = [], []
        self._losses, self._functions, self._called = [], [], []
        self._outputs = {k: m for k, m in self._outputs.items() if not m[0].expired()}

    def _read_buffers(self) -> Record | None:
        """Return the buffers of the models that were trained, after the step."""
        found: dict[int, tuple[str, Tensor]] = {}
        for root in dict.fromkeys(r for f in self._training for r in f.roots):
            for name, buffer in root.named_buffers():
                found.setdefault(id(buffer), (name, buffer))
        if not found:
            return None
        names, tensors = zip(*found.values(), strict=True)
        if list(names) != self._buffers:
            self._buffers = list(names)
            shapes = [list(t.shape) for t in tensors]
            self._write({"kind": "buffers", "names": names, "shapes": shapes})
        return TensorsSummary(tensors).record()

    def _introduce(self, optimizer: Optimizer) -> int:
        """Write an optimizer whose parameters are new; return its number."""
        parameters = _parameters(optimizer)
        number, known = self._optimizers.get(optimizer, (None, []))
        now = [id(p) for p in parameters]
        if number is not None and now == known:
            return number
        self._start_once(parameters[0].device)
        before, number = number, self._introduced
        self._introduced += 1
        self._optimizers[optimizer] = number, now
        self._settings[number] = snapshot.settings(optimizer)
        names, tied = snapshot.parameter_names(parameters)
        sizes = enumerate(len(group["params"]) for group in optimizer.param_groups)
        self._write(
            {
                "kind": "optimizer",
                "before": before,
                "name": type(optimizer).__name__,
                "settings": self._settings[number],
                "groups": [group for group, size in sizes for _ in range(size)],
                "names": names,
                "shapes": [list(p.shape) for p in parameters],
                "tied": tied,
                "weights": TensorsSummary(parameters).record(),
            }
        )
        return number

    def _start_once(self, device: torch.device) -> None:
        if not self._started:
            self._started = True
            self._write({"kind": "start", **snapshot.surroundings(device)})


@cache
def _is_no_model(kind: Any) -> bool:
    """Tell a loss, a metric, or what calculates a weight from others."""
    if issubclass(kind, _Loss | ParametrizationList):
        return True
    return any(base.__module__.startswith("torchmetrics") for base in kind.__mro__)


def _is_of_functorch(tensor: Tensor) -> bool:
    return torch._C._functorch.is_functorch_wrapped_tensor(tensor)


def _keywords() -> Record:
    """Return the keyword arguments of the module's call that is going on."""
    frame: Any = sys._getframe(1)
    while frame := frame.f_back:
        if frame.f_code.co_filename == nn.Module.__call__.__code__.co_filename:
            return frame.f_locals.get("kwargs") or {}
    return {}


def _parameters(optimizer: Optimizer) -> list[Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"]]


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _state(optimizer: Optimizer) -> list[float]:
    """Return how many parameters have a state, and its age in steps, or -1."""
    state = getattr(optimizer, "state", {})
    first = next(iter(state.values()), None)
    age = first.get("step") if isinstance(first, dict) else None
    return [len(state), -1.0 if age is None else float(age)]


def _together(forwards: Sequence[Record], once: bool) -> Record:
    """Put the forwards of one step into one record.

    With `once`, as for a closure that is called many times, a batch that repeats the
    one before is left out.
    """
    keys = ("batch", "mode", "precision")
    seen = [
        f
        for i, f in enumerate(forwards)
        if not (once and i and all(f[k] == forwards[i - 1][k] for k in keys))
    ]
    together = {key: [f[key] for f in seen] for key in (*keys, "output")}
    return {**together, "random": forwards[0]["random"] if forwards else {}}
