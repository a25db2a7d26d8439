"""Turn what PyTorch holds at one moment into plain values for a record.

A summary is taken at once and on the device; only its `record` waits for the device,
so that a GPU is asked for everything together, when a step is over.
"""

from __future__ import annotations

import base64
import gc
import platform
import random
import sys
import zlib
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from compare.trace.fingerprint import batch_fingerprint, fingerprints
from compare.trace.run import NAMELESS

Record = dict[str, Any]


class BatchSummary:
    """A batch's tensors as they were when this was made."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        with torch.no_grad():
            self._sums = [batch_fingerprint(t) for t in tensors]
            self._means = [_values(t).mean() for t in tensors]
        self._shapes = [list(t.shape) for t in tensors]

    def record(self) -> Record:
        """Return hash and bag (hex), shape and mean: lists with one per tensor."""
        pairs = [sums.tolist() for sums in self._sums]
        return {
            "hash": [_hex(whole) for whole, _ in pairs],
            "bag": [_hex(bag) for _, bag in pairs],
            "shape": self._shapes,
            "mean": [mean.item() for mean in self._means],
        }


class TensorsSummary:
    """Weights, gradients or an output as they were when this was made."""

    def __init__(self, tensors: Sequence[Tensor | None]) -> None:
        self._count = len(tensors)
        by_device: defaultdict[torch.device, dict[int, Tensor]] = defaultdict(dict)
        for place, tensor in enumerate(tensors):
            if tensor is not None:
                by_device[tensor.device][place] = tensor
        with torch.no_grad():
            present = [_values(t) for t in tensors if t is not None]
            self._norm = torch.nn.utils.get_total_norm(present)
            self._hashes = [
                (list(group), fingerprints(list(group.values())))
                for group in by_device.values()
            ]

    def record(self) -> Record:
        """Return hash (hex), parts (24 bits of each tensor's own hash) and norm."""
        hashes = [0] * self._count  # a gradient that is None stays 0
        for places, values in self._hashes:
            for place, value in zip(places, values.tolist(), strict=True):
                hashes[place] = value
        parts = b"".join((h & 0xFFFFFF).to_bytes(3, "little") for h in hashes)
        return {
            "hash": _hex(sum(hashes)),
            "parts": base64.b64encode(parts).decode(),
            "norm": self._norm.item(),
        }


def tensors_in(value: Any) -> list[Tensor]:
    """Return the tensors in a value, looking into lists, tuples and dicts."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list | tuple):
        return []
    return [tensor for part in value for tensor in tensors_in(part)]


def surroundings(device: torch.device) -> Record:
    """Return what is set for the whole process and can change the numbers."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return {
        "torch": torch.__version__,
        "platform": f"{platform.system()} {platform.machine()}",
        "device": name,
        "threads": torch.get_num_threads(),
        "seed": torch.initial_seed(),
        "matmul": torch.get_float32_matmul_precision(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
    }


def random_state() -> Record:
    """Fingerprint the state of each global generator, drawing from none of them."""
    state = {
        "torch": f"{zlib.crc32(torch.get_rng_state().numpy().data):08x}",
        "python": f"{hash(random.getstate()[1]) & 0xFFFFFFFF:08x}",
    }
    if torch.cuda.is_initialized():
        state["cuda"] = f"{zlib.crc32(torch.cuda.get_rng_state().numpy().data):08x}"
    if numpy := sys.modules.get("numpy"):
        _, keys, position, *_ = numpy.random.get_state()
        state["numpy"] = f"{zlib.crc32(keys, position):08x}"
    return state


def precision(module: nn.Module) -> str:
    """Return "float32", "float32 autocast bfloat16" or the like, as it is now."""
    parameter = next(module.parameters())
    name = str(parameter.dtype).removeprefix("torch.")
    if torch.is_autocast_enabled(parameter.device.type):
        dtype = torch.get_autocast_dtype(parameter.device.type)
        name += " autocast " + str(dtype).removeprefix("torch.")
    return name


def parameter_names(parameters: Sequence[Tensor]) -> list[str]:
    """Name each parameter as the outermost living module does.

    An optimizer does not know the names, and a training loop need not call the module
    that does, so all living modules are asked. Slow (tenths of a second): call once.
    """
    names: dict[int, str] = {}
    for thing in gc.get_objects():
        if issubclass(type(thing), nn.Module) and "_parameters" in vars(thing):
            for name, parameter in nn.Module.named_parameters(thing):
                if len(name) > len(names.get(id(parameter), "")):
                    names[id(parameter)] = name
    return [names.get(id(p), f"{NAMELESS}{i}") for i, p in enumerate(parameters)]


def settings(optimizer: torch.optim.Optimizer) -> list[Record]:
    """Return each parameter group's options, as text where JSON has no such value."""
    plain = (bool, int, float, str, type(None))
    return [
        {
            key: value if isinstance(value, plain) else str(value)
            for key, value in group.items()
            if key not in ("params", "param_names", "initial_lr")
        }
        for group in optimizer.param_groups
    ]


def _values(tensor: Tensor) -> Tensor:
    """Return the numbers of a tensor in a form that has a norm and a mean."""
    values = tensor.detach()
    if values.is_sparse:
        values = values.coalesce().values()
    if values.is_complex():
        values = torch.view_as_real(values.resolve_conj())
    return values if values.is_floating_point() else values.float()


def _hex(value: int) -> str:
    return f"{value & 0xFFFFFFFFFFFFFFFF:016x}"
