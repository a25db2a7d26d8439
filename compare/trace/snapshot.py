"""Turn what PyTorch holds at one moment into plain values for a record.

A summary is taken at once and on the device; only its `record` waits for the device,
so that a GPU is asked for everything together, when a step is over.
"""

from __future__ import annotations

import base64
import gc
import inspect
import platform
import random
import struct
import sys
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from .fingerprint import ON_CPU, batch_fingerprint, fingerprints, memory, plain
from .run import NAMELESS

Record = dict[str, Any]
_FIRST = 3  # values of a batch that are written as they are


class Reader:
    """Reads the tensors of batches and outputs, each only once.

    What it cannot read it gives to `unseen`, in words.
    """

    def __init__(self, unseen: Callable[[str], None]) -> None:
        self._unseen = unseen
        self._known: dict[tuple[str, int, int], tuple[Tensor, Any]] = {}

    def read(
        self, tensors: Sequence[Tensor], sources: Sequence[list[int] | None]
    ) -> BatchSummary:
        """Summarize a batch as it is now; `sources` is as in `Batch.source`."""
        with torch.no_grad():
            read = [self._once(tensor, self._summarize) for tensor in tensors]
        return BatchSummary(tensors, sources, read)

    def read_output(self, tensor: Tensor) -> TensorsSummary:
        """Summarize what a model has made, as it is now."""
        summary: TensorsSummary = self._once(tensor, _summarize_alone)
        return summary

    def forget(self) -> None:
        """Let go of the tensors that were read."""
        self._known = {}

    def _once(self, tensor: Tensor, summarize: Callable[[Tensor], Any]) -> Any:
        if tensor.is_inference():  # it has no version
            return summarize(tensor)
        key = summarize.__name__, id(tensor), tensor._version
        if len(self._known) > 64:
            self.forget()
        if key not in self._known:  # kept here, a tensor keeps its id
            self._known[key] = tensor, summarize(tensor)
        return self._known[key][1]

    def _summarize(self, tensor: Tensor) -> tuple[Tensor, Tensor] | None:
        """Return fingerprints, and mean, norm and first values; None if unreadable."""
        try:
            dense = plain(tensor)
            if dense.is_sparse:
                dense = dense.coalesce()
                entries = dense.values().double().reshape(len(dense.values()), -1)
                dense = torch.cat([dense.indices().t().double(), entries], dim=1)
            values = _values(dense).reshape(-1)
            numbers = [values.mean()[None], torch.linalg.vector_norm(values)[None]]
            return batch_fingerprint(dense), torch.cat([*numbers, values[:_FIRST]])
        except (TypeError, RuntimeError, NotImplementedError) as error:
            self._unseen(str(error).splitlines()[0])
            return None


def _summarize_alone(tensor: Tensor) -> TensorsSummary:
    return TensorsSummary([tensor])


class BatchSummary:
    """A batch's tensors as they were when this was made; one that is unread is None."""

    def __init__(
        self,
        tensors: Sequence[Tensor],
        sources: Sequence[list[int] | None],
        read: list[tuple[Tensor, Tensor] | None],
    ) -> None:
        self._sources = list(sources)
        self._shapes = [list(t.shape) if not t.is_nested else [] for t in tensors]
        self._dtypes = [str(t.dtype).removeprefix("torch.") for t in tensors]
        self._read = read

    def record(self) -> Record:
        """Return what the format calls a batch: lists with one entry per tensor."""
        read = [r and (r[0].tolist(), r[1].tolist()) for r in self._read]
        return {
            "hash": [r and _hex(r[0][0]) for r in read],
            "rows": [r[0][1] if r else 0 for r in read],
            "shape": self._shapes,
            "dtype": self._dtypes,
            "mean": [r[1][0] if r else 0.0 for r in read],
            "norm": [r[1][1] if r else 0.0 for r in read],
            "first": [r[1][2:] if r else [] for r in read],
            "source": self._sources,
        }


class TensorsSummary:
    """Weights, gradients, buffers or an output as they were when this was made."""

    def __init__(self, tensors: Sequence[Tensor | None]) -> None:
        self._count = len(tensors)
        by_device: defaultdict[torch.device, dict[int, Tensor]] = defaultdict(dict)
        for place, tensor in enumerate(tensors):
            if tensor is not None:
                by_device[tensor.device][place] = plain(tensor)
        with torch.no_grad():
            self._read = [
                (
                    list(group),
                    fingerprints(list(group.values())),
                    _norms(group.values()),
                )
                for group in by_device.values()
            ]

    def norm(self) -> float:
        """Return the norm of all tensors together."""
        every = [norms for _, _, norms in self._read]
        if len(every) == 1:
            return torch.linalg.vector_norm(every[0]).item()
        return sum(torch.linalg.vector_norm(n).item() ** 2 for n in every) ** 0.5

    def record(self) -> Record:
        """Return what the format calls gradient, weights, buffers or output."""
        hashes, norms = [0] * self._count, [0.0] * self._count
        for places, found, sizes in self._read:
            values = zip(places, found.tolist(), sizes.tolist(), strict=True)
            for place, value, size in values:
                hashes[place] = value if value & 0xFFFFFF else value | 1  # 0 is None
                norms[place] = size
        short = b"".join((h & 0xFFFFFF).to_bytes(3, "little") for h in hashes)
        packed = struct.pack(f"<{len(norms)}f", *norms)
        return {
            "hash": _hex(sum(hashes)),
            "hashes": base64.b64encode(short).decode(),
            "packed_norms": base64.b64encode(packed).decode(),
            "norm": self.norm(),
        }


def tensors_in(value: Any, depth: int = 0) -> list[Tensor]:
    """Return the tensors in a value: in sequences, mappings, dataclasses, objects."""
    if isinstance(value, Tensor):
        return [value]
    if value is None or isinstance(value, str | bytes | int | float) or depth > 6:
        return []
    parts: Iterable[Any] = ()
    if isinstance(value, Mapping):
        parts = [value[key] for key in sorted(value, key=str)]
    elif isinstance(value, list | tuple):
        parts = value
    elif is_dataclass(value) and not isinstance(value, type):
        parts = [getattr(value, field.name, None) for field in fields(value)]
    elif isinstance(value, SimpleNamespace):
        parts = vars(value).values()
    elif callable(getattr(value, "to_dict", None)) and hasattr(value, "keys"):
        parts = value.to_dict().values()  # as the graphs of PyTorch Geometric
    return [tensor for part in parts for tensor in tensors_in(part, depth + 1)]


def inputs_of(module: nn.Module, args: Sequence[Any], kwargs: Record) -> list[Tensor]:
    """Return the tensors that a call is given, in the order of forward's parameters."""
    try:
        if kwargs:
            forward = _unwrapped(module).forward
            bound = inspect.signature(forward).bind(*args, **kwargs)
            return tensors_in(list(bound.arguments.values()))
        return tensors_in(list(args))
    except (TypeError, ValueError):
        return tensors_in([list(args), kwargs])


def _unwrapped(module: nn.Module) -> nn.Module:
    """Return what DistributedDataParallel, torch.compile or Fabric has wrapped."""
    for name in ("_orig_mod", "_forward_module", "module"):
        inner = module._modules.get(name)
        if inner is not None:
            return _unwrapped(inner)
    return module


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
        "fingerprint": ON_CPU if device.type == "cpu" else "sums",
        "trainer": _trainer(),
    }


def _trainer() -> str:
    """Return the package whose loop calls the model, "" where it is the user's own."""
    frame: Any = sys._getframe()
    while frame := frame.f_back:
        package = str(frame.f_globals.get("__name__")).partition(".")[0]
        if package in ("pytorch_lightning", "lightning", "ignite", "transformers"):
            return package
    return ""


def random_state() -> Record:
    """Fingerprint the state of each global generator, drawing from none of them.

    Python's and NumPy's show the position in the current 624 numbers after a colon.
    """
    state = {"torch": _checksum(torch.get_rng_state())}
    *_, position = numbers = random.getstate()[1]
    some = hash(numbers[1:9])  # all of the 624 change together
    state["python"] = f"{some & 0xFFFFFFFF:08x}:{position}"
    if torch.cuda.is_initialized():
        state["cuda"] = _checksum(torch.cuda.get_rng_state())
    if numpy := sys.modules.get("numpy.random"):
        _, keys, position, *_ = numpy.get_state()
        state["numpy"] = f"{zlib.crc32(keys):08x}:{position}"
    return state


def _checksum(state: Tensor) -> str:
    return f"{zlib.crc32(memory(state)):08x}"


def precision(parameter: Tensor) -> str:
    """Return "float32", "float32 autocast bfloat16" or the like, as it is now."""
    name = str(parameter.dtype).removeprefix("torch.")
    if torch.is_autocast_enabled(parameter.device.type):
        dtype = torch.get_autocast_dtype(parameter.device.type)
        name += " autocast " + str(dtype).removeprefix("torch.")
    return name


def parameter_names(parameters: Sequence[Tensor]) -> tuple[list[str], list[list[str]]]:
    """Name each parameter as the outermost living module does; with its tied names.

    An optimizer does not know the names, and a training loop need not call the module
    that does, so all living modules are asked. Names that repeat get a number. Slow
    (tenths of a second): call once.
    """
    modules = [
        thing
        for thing in gc.get_objects()
        if issubclass(type(thing), nn.Module) and "_parameters" in vars(thing)
    ]
    inside = {id(child) for m in modules for child in m._modules.values()}
    wanted, names = {id(p) for p in parameters}, dict[int, list[str]]()
    for module in modules:
        if id(module) in inside:
            continue
        own = defaultdict[int, list[str]](list)
        for name, parameter in module.named_parameters(remove_duplicate=False):
            if id(parameter) in wanted:
                own[id(parameter)].append(name)
        for key, found in own.items():
            if len(found[0]) > len(names.get(key, [""])[0]):
                names[key] = found
    counts: defaultdict[str, int] = defaultdict(int)
    result = []
    for place, parameter in enumerate(parameters):
        name = names.get(id(parameter), [f"{NAMELESS}{place}"])[0]
        counts[name] += 1
        result.append(name if counts[name] == 1 else f"{name} ({counts[name]})")
    return result, [names[id(p)] for p in parameters if len(names.get(id(p), ())) > 1]


def settings(optimizer: torch.optim.Optimizer) -> list[Record]:
    """Return each parameter group's options, as text where JSON has no such value."""
    usual = (bool, int, float, str, type(None))
    return [
        {
            key: value if isinstance(value, usual) else str(value)
            for key, value in group.items()
            if key not in ("params", "param_names", "initial_lr", "lr")
        }
        for group in optimizer.param_groups
    ]


def _norms(tensors: Iterable[Tensor]) -> Tensor:
    norms = torch._foreach_norm([_values(t) for t in tensors])
    return torch.stack([n if n.dtype == torch.float32 else n.float() for n in norms])


def _values(values: Tensor) -> Tensor:
    """Return the numbers of a tensor in a form that has a norm and a mean."""
    if values.is_sparse:
        values = values.coalesce().values()
    if values.is_complex():
        values = torch.view_as_real(values.resolve_conj())
    return values if values.is_floating_point() else values.float()


def _hex(value: int) -> str:
    return f"{value & 0xFFFFFFFFFFFFFFFF:016x}"
