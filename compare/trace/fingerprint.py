"""64-bit fingerprints of the bytes of tensors, taken on the device they live on.

The same bytes in the same logical order give the same fingerprint, whatever the shape
or the strides; any other bytes give another one, but for a chance below one in a
billion. -0.0 is not 0.0, and one NaN is not another.

`fingerprints` is for weights and gradients, where speed is everything: on the CPU it is
xxHash, which reads as fast as memory delivers, or BLAKE2 where xxhash is not installed;
on a GPU one sum over all tensors. `batch_fingerprint` is for batches and gives the same
number on every device.

Both sums work alike. Bytes are read as rows of 64-bit words; a row's hash is the
wrap-around sum of its words times odd random numbers. Integers have no rounding, so
the order in which a device adds does not matter. The overflow loses the high bits of
a product, so each word's upper half is hashed once more, with numbers of its own. Row
hashes are mixed, weighted by position and summed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from ctypes import c_ubyte
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

try:
    import xxhash

    ON_CPU = "xxh3"
except ImportError:
    ON_CPU = "blake2b"


_COLUMNS = 512  # words in a row, where the length of a row is ours to choose
_AT_ONCE = 1 << 23  # words hashed in one go on a GPU: 64 MiB of temporary memory
_GOLDEN = -0x61C8864680B583EB  # 2**64 divided by the golden ratio, as a signed number


def fingerprints(tensors: Sequence[Tensor]) -> Tensor:
    """Return one int64 per tensor, shape (len(tensors),), on the tensors' device.

    All must live on one device and be as `plain` returns them; at least one.
    """
    if tensors[0].device.type != "cpu":
        return packed_sums([_bytes(t) for t in tensors])
    digests = []
    for tensor in tensors:
        contiguous = _contiguous(tensor)  # keeps the memory while it is read
        digests.append(_digest(memory(contiguous)))
    signed = [digest - (digest >> 63 << 64) for digest in digests]
    return torch.tensor(signed, dtype=torch.int64, device="cpu")


def packed_sums(data: Sequence[Tensor]) -> Tensor:
    """Return the fingerprints that GPUs use, for vectors of bytes on one device."""
    device = data[0].device
    weights = _weights(_COLUMNS, device)
    rows = torch.cat([_hash_rows(matrix, weights) for matrix in _pack(data)])
    owner, size, position = _layout(tuple(len(d) for d in data), device)
    result = torch.zeros(len(data), dtype=torch.int64, device=device)
    return result.index_add_(0, owner, _mix(rows + size) * position)


def batch_fingerprint(batch: Tensor) -> Tensor:
    """Return two int64, shape (2,): the fingerprint of a batch, and that of its rows.

    The second is the sum of the fingerprints of the rows (the samples): equal for the
    same samples in another order. Sums of several batches add up to the sum of all.
    The batch must be as `plain` returns it.
    """
    data = _bytes(batch)
    rows = len(batch) if batch.dim() and batch.numel() else 1
    width = len(data) // rows
    missing = -width % 8 if width else 8
    matrix = data.view(rows, width)
    words = (pad(matrix, (0, missing)) if missing else matrix).view(torch.int64)
    hashed = _mix(
        _hash_rows(words, _weights(words.shape[1], words.device)) + (width + 1)
    )
    return torch.stack([(hashed * _positions(rows, words.device)).sum(), hashed.sum()])


def _digest(data: Any) -> int:
    if ON_CPU == "xxh3":
        return xxhash.xxh3_64_intdigest(data)
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def memory(data: Tensor) -> Any:
    """Return a buffer over a contiguous tensor on the CPU; NumPy may not be there."""
    return (
        (c_ubyte * data.nbytes).from_address(data.data_ptr()) if data.numel() else b""
    )


def plain(tensor: Tensor) -> Tensor:
    """Return a tensor without its gradient and subclass, or raise TypeError.

    Refused is what has no bytes of its own: meta, fake, quantized, nested, the tensors
    of functorch, and sparse ones that are no list of entries.
    """
    result = tensor.detach()
    if hasattr(result, "to_local"):  # a DTensor: this rank's part of it
        result = result.to_local()
    fixed = getattr(type(result), "__torch_dispatch__", None)
    layout = result.layout in (torch.strided, torch.sparse_coo)
    if (
        fixed not in (None, Tensor.__torch_dispatch__)
        or not layout
        or result.is_meta
        or result.is_quantized
        or result.is_nested
        or torch._C._functorch.is_functorch_wrapped_tensor(result)
    ):
        raise TypeError(f"a tensor of type {tensor.type()} has no bytes to fingerprint")
    return result if type(result) is Tensor else result.as_subclass(Tensor)


def _bytes(tensor: Tensor) -> Tensor:
    """Return the tensor's bytes in logical order, as an aligned vector of uint8."""
    values = _contiguous(tensor)
    if values.storage_offset() * values.element_size() % 8:
        values = values.clone()  # a slice that starts in the middle of a word
    return values.reshape(-1).view(torch.uint8)


def _contiguous(tensor: Tensor) -> Tensor:
    """Return a tensor whose bytes lie in logical order; of a sparse one its entries."""
    if tensor.is_sparse:
        entries = tensor.coalesce()
        return torch.cat([_bytes(entries.indices()), _bytes(entries.values())])
    return tensor.resolve_conj().resolve_neg().contiguous()


def _pack(data: Sequence[Tensor]) -> Iterator[Tensor]:
    """Yield matrices of words with many tensors in each: a GPU likes few, big calls."""
    parts: list[Tensor] = []
    words = 0
    for each in data:
        parts += [each, each.new_zeros(-len(each) % (8 * _COLUMNS))]
        words += len(each) // 8
        if words > _AT_ONCE:
            yield torch.cat(parts).view(torch.int64).view(-1, _COLUMNS)
            parts, words = [], 0
    if parts:
        yield torch.cat(parts).view(torch.int64).view(-1, _COLUMNS)


def _hash_rows(words: Tensor, weights: Tensor) -> Tensor:
    """Hash each row of a matrix of words: (rows, columns) to (rows,)."""
    whole, upper = weights
    if words.device.type == "cpu":  # only there an integer matrix product exists
        return torch.mv(words, whole).addmv_(words >> 32, upper)
    chunks = words.split(max(1, _AT_ONCE // words.shape[1]))
    return torch.cat([(c * whole + (c >> 32) * upper).sum(1) for c in chunks])


def _mix(values: Tensor) -> Tensor:
    """Let every bit of a value change many others, as splitmix64 does."""
    values = values * _GOLDEN
    values = (values ^ (values >> 29)) * _GOLDEN
    return values ^ (values >> 32)


@lru_cache(maxsize=64)
def _layout(
    sizes: tuple[int, ...], device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Say of each packed row whose it is, its tensor's size in bytes, its weight."""
    counts = torch.tensor([-(-size // (8 * _COLUMNS)) for size in sizes])
    owner = torch.arange(len(sizes)).repeat_interleave(counts)
    size = torch.tensor(sizes).repeat_interleave(counts)
    first = (counts.cumsum(0) - counts).repeat_interleave(counts)
    position = _mix(torch.arange(len(owner)) - first + 1) | 1
    return owner.to(device), size.to(device), position.to(device)


@lru_cache(maxsize=64)
def _positions(count: int, device: torch.device) -> Tensor:
    return (_mix(torch.arange(count) + 1) | 1).to(device)


@lru_cache(maxsize=64)
def _weights(count: int, device: torch.device) -> Tensor:
    """Return odd numbers for whole words and upper halves: (2, count), always these."""
    numbers = torch.arange(2 * count).view(count, 2).t() - 0x5851F42D
    return (_mix(_mix(numbers)) | 1).contiguous().to(device)
