"""Record the inputs of the losses in torch.nn.functional, by wrapping them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .snapshot import BatchReader, Record

_ALSO = {"cross_entropy", "binary_cross_entropy", "kl_div"}
_ALSO |= {"binary_cross_entropy_with_logits"}
_OLD = ("size_average", "reduce")  # options that `reduction` has replaced


class LossCall:
    """A loss function that was called: which, how, and with what."""

    def __init__(
        self, name: str, arguments: Record, result: Tensor, reader: BatchReader
    ) -> None:
        self.node = result.grad_fn._sequence_nr() if result.grad_fn else None
        self._name = name
        tensors = {k: v for k, v in arguments.items() if isinstance(v, Tensor)}
        options = {k: v for k, v in arguments.items() if k not in tensors}
        self._options = {k: repr(v) for k, v in options.items() if k not in _OLD}
        self._keys = list(tensors)
        values = list(tensors.values())
        self._summary = reader.read(values, [None] * len(values))
        self._autocast = torch.is_autocast_enabled(result.device.type)
        self._numbers: list[Tensor] = []
        with torch.no_grad():
            if result.numel() == 1:
                self._value: Tensor | None = result.detach().double().reshape(())
            else:
                self._value = None
            first = values[0].detach()
            if first.dim() and first.numel() and first.is_floating_point():
                self._numbers = list(first.aminmax())
                if name == "cross_entropy":
                    total = first.float().sum(1 if first.dim() > 1 else 0)
                    self._numbers.append((total - 1).abs().max())
            ignored = options.get("ignore_index")
            self._ignored = (
                (values[1] == ignored).sum() if ignored is not None else None
            )

    def record(self) -> Record:
        """Return what the format calls a function."""
        return {
            "name": self._name,
            "options": self._options,
            "names": self._keys,
            "arguments": self._summary.record(),
            "autocast": self._autocast,
            "value": None if self._value is None else self._value.item(),
            "spread": [number.item() for number in self._numbers],
            "ignored": None if self._ignored is None else int(self._ignored.item()),
        }


class Losses:
    """Stands in for every loss in torch.nn.functional, and calls `noted` for each."""

    def __init__(self, noted: Callable[[str, Record, Tensor], None]) -> None:
        self._noted = noted
        self._inside = False
        self._real: dict[str, Callable[..., Any]] = {}

    def start(self) -> None:
        """Put the stand-ins in place."""
        for name in dir(F):
            if name.endswith("_loss") or name in _ALSO:
                self._real[name] = getattr(F, name)
                setattr(F, name, self._stand_in(name, self._real[name]))

    def stop(self) -> None:
        """Put the functions back."""
        for name, function in self._real.items():
            setattr(F, name, function)

    def _stand_in(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(real)

        @wraps(real)
        def loss(*args: Any, **kwargs: Any) -> Any:
            if torch.compiler.is_compiling() or self._inside:
                return real(*args, **kwargs)
            self._inside = True
            try:
                result = real(*args, **kwargs)
            finally:
                self._inside = False
            if isinstance(result, Tensor) and result.requires_grad:
                bound = signature.bind(*args, **kwargs)
                bound.apply_defaults()
                self._noted(name, dict(bound.arguments), result)
            return result

        # torch.jit.script compiles the function itself
        loss.__prepare_scriptable__ = lambda: real  # type: ignore[attr-defined]
        return loss
