"""Record the inputs of the losses in torch.nn.functional, by wrapping them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .snapshot import Reader, Record

_OTHER_NAMES = {  # of losses that do not end in _loss
    "cross_entropy",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "kl_div",
}
_OLD = ("size_average", "reduce")  # options that `reduction` has replaced


class LossSummary:
    """A loss function as it was called: which, how, and with what."""

    def __init__(
        self, name: str, arguments: Record, result: Tensor, reader: Reader
    ) -> None:
        self.node = result.grad_fn._sequence_nr() if result.grad_fn else None
        tensors = {k: v for k, v in arguments.items() if isinstance(v, Tensor)}
        options = {k: v for k, v in arguments.items() if k not in (*tensors, *_OLD)}
        self._name = name
        self._options = {key: repr(value) for key, value in options.items()}
        self._autocast = torch.is_autocast_enabled(result.device.type)
        prediction, *others = tensors.values()
        _, *self._names = tensors
        self._shape = list(prediction.shape)
        self._prediction = reader.read_output(prediction)
        self._others = reader.read(others, [None] * len(others))
        with torch.no_grad():
            self._value = result.double().reshape(()) if result.numel() == 1 else None
            self._spread = _spread(name, prediction)
            self._ignored = None
            if "ignore_index" in options and others:
                self._ignored = (others[0] == options["ignore_index"]).sum()

    def record(self) -> Record:
        """Return what the format calls a function."""
        return {
            "name": self._name,
            "options": self._options,
            "shape": self._shape,
            "prediction": self._prediction.record(),
            "names": self._names,
            "arguments": self._others.record(),
            "autocast": self._autocast,
            "value": None if self._value is None else self._value.item(),
            "spread": [number.item() for number in self._spread],
            "ignored": None if self._ignored is None else self._ignored.item(),
        }


def _spread(name: str, prediction: Tensor) -> list[Tensor]:
    """Return the smallest and largest prediction.

    For cross_entropy, a third number says how far the sum over the classes is from 1,
    in the sample where it is farthest.
    """
    if not (prediction.dim() and prediction.numel() and prediction.is_floating_point()):
        return []
    numbers = list(prediction.aminmax())
    if name == "cross_entropy":
        total = prediction.float().sum(1 if prediction.dim() > 1 else 0)
        numbers.append((total - 1).abs().max())
    return numbers


class Losses:
    """Stands in for every loss in torch.nn.functional, and calls `noted` for each."""

    def __init__(self, noted: Callable[[str, Record, Tensor], None]) -> None:
        self._noted = noted
        self._inside = False
        self._real: dict[str, Callable[..., Any]] = {}

    def start(self) -> None:
        """Put the stand-ins in place."""
        for name in dir(F):
            if name.endswith("_loss") or name in _OTHER_NAMES:
                self._real[name] = getattr(F, name)
                setattr(F, name, self._stand_in(name, self._real[name]))

    def stop(self) -> None:
        """Put the functions back."""
        for name, function in self._real.items():
            setattr(F, name, function)

    def _stand_in(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        parameters = inspect.signature(real).parameters.values()
        names = [parameter.name for parameter in parameters]
        defaults = {p.name: p.default for p in parameters if p.default is not p.empty}

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
                given = dict(zip(names, args, strict=False)) | kwargs
                arguments = {k: (defaults | given)[k] for k in names}
                self._noted(name, arguments, result)
            return result

        # torch.jit.script compiles the function itself
        loss.__prepare_scriptable__ = lambda: real  # type: ignore[attr-defined]
        return loss
