"""What a training run tells PyTorch's global hooks, put into records.

A hand-written loop does forward and backward and then steps. A Trainer steps, and does
forward and backward in the closure it hands to the optimizer. So the gradient is read
when the closure returns, and where there is no closure, before the step.
"""

import functools
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from compare import environment
from compare.batches import Batches
from compare.fingerprint import Prints, fingerprint
from compare.names import named_tensors
from compare.tracefile import Record, number


@dataclass
class Known:
    """An optimizer that has stepped. Kept, so that its id is not used again."""

    index: int
    optimizer: Optimizer
    parameters: list[Tensor]
    statistics: list[Tensor]
    options: list[Record] | None = None


@dataclass
class Step:
    """An optimizer step under way."""

    optimizer: Optimizer
    closures: int = 0
    losses: int = 0  # and batches, of the first closure
    batches: int = 0
    gradient: Prints | None = None


class Recorder:
    """Turns what the hooks see into records and hands them to `write`.

    It looks only at the process and the thread it was made in: DataLoader workers and
    replicas inherit the hooks. It draws no random number and changes no tensor.
    """

    def __init__(self, write: Callable[[Record], None]):
        self.steps = self.evals = 0
        self._write = write
        self._home = (os.getpid(), threading.get_ident())
        self._begun = False
        self._asleep = False  # in a backward, where checkpointing calls modules again
        self._calls = Batches(self._begin, self._evaluated)
        self._batches: list[Record] = []  # those of the step to come
        self._losses: list[Tensor] = []
        self._known: dict[int, Known] = {}
        self._stepping: list[Step] = []

    def on_call(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        """Take a module's call: a global forward pre-hook."""
        if not self._away():
            self._calls.on_call(module, args)

    def on_return(self, module: nn.Module, _args: Any, output: Any) -> None:
        """Take a module's answer: a global forward hook."""
        if not self._away():
            self._calls.on_return(module, output)

    @contextmanager
    def on_backward(self, tensors: Any) -> Iterator[None]:
        """Take the loss a backward begins at, and look away while it runs."""
        if self._away():
            yield
            return
        self._batches += self._calls.take()
        for loss in [tensors] if isinstance(tensors, Tensor) else tensors:
            self._losses.append(loss.detach().clone())
        self._asleep = True
        try:
            yield
        finally:
            self._asleep = False

    def before_step(
        self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """Take an optimizer about to step, and wrap its closure: a global hook."""
        if self._away():
            return None
        if any(step.optimizer is optimizer for step in self._stepping):
            self._stepping.clear()  # its last step raised, and the script went on
        step = Step(optimizer)
        self._stepping.append(step)
        if len(self._stepping) > 1:  # an optimizer that steps another one inside
            return None
        self._introduce(optimizer)
        if len(args) > 1 and callable(args[1]):
            return (args[0], self._watch(step, args[1]), *args[2:]), kwargs
        if callable(kwargs.get("closure")):
            return args, {**kwargs, "closure": self._watch(step, kwargs["closure"])}
        self._read_gradient(step)
        return None

    def after_step(self, optimizer: Optimizer, _args: Any, _kwargs: Any) -> None:
        """Write the record of an optimizer that has stepped: a global hook."""
        if self._away() or not self._stepping:
            return
        step = self._stepping.pop()
        if self._stepping:
            return
        known = self._known[id(optimizer)]
        losses = [_value(loss) for loss in self._losses]
        record: Record = {
            "step": self.steps,
            "optimizer": known.index,
            "batches": self._batches + self._calls.take(),
            "loss": losses[: step.losses],
            "dtype": _dtype(self._losses[0]) if self._losses else None,
            "gradient": _prints(step.gradient) if step.gradient else None,
            "lr": [number(float(group["lr"])) for group in optimizer.param_groups],
            "weights": _prints(fingerprint(known.parameters + known.statistics)),
        }
        if step.closures > 1:
            record["batches"] = record["batches"][: step.batches]
            record |= {"closures": step.closures, "again": losses[step.losses :]}
        if (options := _options(optimizer)) != known.options:
            record["options"] = known.options = options
        self.steps += 1
        self._write(record)
        self._batches, self._losses = [], []

    def finish(self, how: str) -> None:
        """Write what waits, and the end record.

        Args:
            how: "finished", or the name of the exception that ended the run.
        """
        self._calls.finish()
        self._begin(torch.device("cpu"))
        self._write({"end": how, "steps": self.steps, "evals": self.evals})

    def _away(self) -> bool:
        return (
            torch.compiler.is_compiling()
            or self._asleep
            or self._home != (os.getpid(), threading.get_ident())
        )

    def _begin(self, device: torch.device) -> None:
        if not self._begun:
            self._begun = True
            self._write(environment.header(device))

    def _evaluated(self, batch: Record) -> None:
        self._write({"eval": self.evals, **batch})
        self.evals += 1

    def _watch(self, step: Step, closure: Callable[[], Any]) -> Callable[[], Any]:
        @functools.wraps(closure, updated=())
        def watched(*args: Any, **kwargs: Any) -> Any:
            result = closure(*args, **kwargs)
            step.closures += 1
            if step.closures == 1:
                self._read_gradient(step)
            return result

        return watched

    def _read_gradient(self, step: Step) -> None:
        parameters = self._known[id(step.optimizer)].parameters
        step.gradient = fingerprint([p.grad for p in parameters])
        step.losses, step.batches = len(self._losses), len(self._batches)

    def _introduce(self, optimizer: Optimizer) -> None:
        """Write an optimizer record where the optimizer or its parameters are new."""
        ids = [id(p) for group in optimizer.param_groups for p in group["params"]]
        known = self._known.get(id(optimizer))
        if known and len(known.parameters) == len(ids):
            return
        # made anew over the same parameters, it goes on under its number
        same = [k for k in self._known.values() if [id(p) for p in k.parameters] == ids]
        if same:
            self._known[id(optimizer)] = Known(
                same[0].index, optimizer, same[0].parameters, same[0].statistics
            )
            return
        named, statistics = named_tensors(optimizer)
        index = known.index if known else len({k.index for k in self._known.values()})
        known = Known(index, optimizer, [*named.values()], [*statistics.values()])
        self._known[id(optimizer)] = known
        first = known.parameters[0]
        self._begin(first.device)
        self._write(
            {
                "optimizer": index,
                "class": type(optimizer).__name__,
                "device": str(first.device),
                "dtype": _dtype(first),
                "names": list(named),
                "shapes": [list(p.shape) for p in known.parameters],
                "statistics": list(statistics),
                # a loop's forward has been, a Trainer's comes: statistics would differ
                "weights": _prints(fingerprint(known.parameters)),
            }
        )


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _value(loss: Tensor) -> float | str:
    """Give a loss exactly; of a tensor that is not one number, its norm."""
    if loss.numel() == 1 and not loss.is_complex():
        return number(float(loss))
    return number(float(torch.linalg.vector_norm(loss)))


def _prints(prints: Prints) -> Record:
    return {
        "bits": prints.combined(),
        "norm": number(prints.norm()),
        "each": prints.each(),
    }


def _options(optimizer: Optimizer) -> list[Record]:
    """Give the settings of each group, but for what every step records anyway."""
    return [
        {
            key: float(value) if isinstance(value, Tensor) else value
            for key, value in group.items()
            if key not in ("params", "param_names", "lr", "initial_lr")
        }
        for group in optimizer.param_groups
    ]
