"""Fingerprints of tensors: equal for equal bytes, and cheap.

A tensor's bytes, in the order of its elements, are cut into words of 64 bits (zeros
fill the last). The fingerprint is a weighted sum of the words modulo 2**64:

    sum over i of (word ^ word >> 29) * MULTIPLIER**rows_after(i) * LANE_WEIGHTS[i % n]

A row is `LANES` words. Sums of integers do not depend on the order of summation, so
any device and any number of threads gives the same value. The shift brings the top bit
of a word, which times any odd number stays the top bit, down to where it counts; so
0.0 and -0.0 differ, and so do two NaN with unlike payloads. Neither shape nor strides
matter. All zeros give 0, as does a gradient that is None.
"""

import hashlib
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

LANES = 32768  # a row of words and two scratch rows: together they fit the L2 cache
SHIFT = np.uint64(29)
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)

Words = np.ndarray[Any, np.dtype[np.uint64]]


def _lane_weights() -> Words:
    """Odd pseudo-random numbers (splitmix64), the same on every machine."""
    mixed = np.arange(1, LANES + 1, dtype=np.uint64) * MULTIPLIER
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (mixed ^ (mixed >> np.uint64(31))) | np.uint64(1)


LANE_WEIGHTS = _lane_weights()
SCRATCH = np.empty(LANES, dtype=np.uint64)  # kept: fresh memory costs more than the sum
TOTALS = np.empty(LANES, dtype=np.uint64)


class Prints:
    """Fingerprints and the norm of a list of tensors, read from the device when asked.

    `words()` gives one 64-bit fingerprint per tensor, `norm()` the Euclidean norm of
    all elements together. On a GPU the first of them waits for the device.
    """

    def __init__(self, words: Callable[[], Words], norm: Callable[[], float]):
        self.words = words
        self.norm = norm

    def combined(self) -> str:
        """One fingerprint over all the tensors: 16 hexadecimal digits."""
        return hashlib.blake2b(self.words().tobytes(), digest_size=8).hexdigest()

    def each(self) -> str:
        """Four hexadecimal digits per tensor: enough to tell which ones differ."""
        return (self.words() >> np.uint64(48)).astype(">u2").tobytes().hex()


def fingerprint(tensors: Iterable[Tensor | None]) -> Prints:
    """Start the fingerprints of the tensors as they are now.

    Args:
        tensors: any dtype, shape, strides and device; None counts as all zeros.

    Returns:
        A `Prints` with one fingerprint per tensor. Nothing later done to the tensors
        changes it.
    """
    plain = [torch.empty(0) if t is None else _plain(t.detach()) for t in tensors]
    if all(t.device.type == "cpu" for t in plain):
        with np.errstate(all="ignore"):  # a norm that overflows is no one's error here
            sums = [_host(t) for t in plain]
        words = np.array([word for word, _ in sums], dtype=np.uint64)
        norm = sum(square for _, square in sums) ** 0.5
        return Prints(lambda: words, lambda: norm)
    device = next(t.device for t in plain if t.device.type != "cpu")
    return _on_device([t.to(device) for t in plain])


def _plain(tensor: Tensor) -> Tensor:
    """Give the tensor's elements as one dense row of plain bytes-backed values."""
    if hasattr(tensor, "to_local"):  # DTensor: every rank looks at its own shard
        tensor = tensor.to_local()
    if tensor.layout != torch.strided:
        tensor = tensor.to_dense()
    return tensor.resolve_conj().resolve_neg().contiguous().view(-1)


def _host(tensor: Tensor) -> tuple[int, float]:
    """Fingerprint and sum of squares of a dense CPU tensor, in one pass over it."""
    octets = tensor.view(torch.uint8).numpy()
    whole = octets.size // 8 * 8
    words = octets[:whole].view(np.uint64)
    if whole < octets.size:
        tail = np.zeros(8, dtype=np.uint8)
        tail[: octets.size - whole] = octets[whole:]
        words = np.append(words, tail.view(np.uint64))
    values = _real(tensor).numpy()
    if words.size <= LANES:
        mixed = SCRATCH[: words.size]
        np.right_shift(words, SHIFT, out=mixed)
        np.bitwise_xor(mixed, words, out=mixed)
        return int(np.dot(mixed, LANE_WEIGHTS[: words.size])), float(values @ values)
    TOTALS[:] = 0
    square = 0.0
    stride = -(-values.size * LANES // words.size)
    for row in range(-(-words.size // LANES)):
        part = words[row * LANES : (row + 1) * LANES]
        mixed, totals = SCRATCH[: part.size], TOTALS[: part.size]
        np.right_shift(part, SHIFT, out=mixed)
        np.bitwise_xor(mixed, part, out=mixed)
        np.multiply(TOTALS, MULTIPLIER, out=TOTALS)
        np.add(totals, mixed, out=totals)
        # the row is in the cache now: its norm costs next to nothing here
        some = values[row * stride : (row + 1) * stride]
        square += float(some @ some)
    return int(np.dot(TOTALS, LANE_WEIGHTS)), square


def _real(tensor: Tensor) -> Tensor:
    """Give numbers a norm can be taken of, without a copy for the usual dtypes."""
    if tensor.is_complex():
        return torch.view_as_real(tensor).view(-1)
    return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()


def _on_device(tensors: list[Tensor]) -> Prints:
    """Do the same sum with a handful of kernels, however many tensors there are."""
    parts = [_device_words(t) for t in tensors]
    sizes = tuple(part.numel() for part in parts)
    words = torch.cat(parts)
    shifted = (words >> int(SHIFT)) & (
        2 ** (64 - int(SHIFT)) - 1
    )  # >> copies the sign bit
    sums = ((words ^ shifted) * _factors(sizes, words.device)).cumsum(0)
    ends = np.cumsum(sizes)
    norms = [torch.linalg.vector_norm(_real(t)).float() for t in tensors]
    norm = torch.linalg.vector_norm(torch.stack(norms))

    @lru_cache(1)
    def read() -> Words:
        upto = torch.nn.functional.pad(sums, (1, 0))[torch.from_numpy(ends)]
        totals: Words = upto.cpu().numpy().view(np.uint64)
        return totals - np.concatenate((np.zeros(1, np.uint64), totals[:-1]))

    return Prints(read, lambda: float(norm))


def _device_words(tensor: Tensor) -> Tensor:
    octets = tensor.view(torch.uint8)
    missing = -octets.numel() % 8
    if missing or tensor.data_ptr() % 8:
        octets = torch.nn.functional.pad(octets, (0, missing))
    return octets.view(torch.int64)


@lru_cache(8)
def _factors(sizes: tuple[int, ...], device: torch.device) -> Tensor:
    """Give the factor of each word of tensors of these sizes, as int64."""
    factors = np.empty(sum(sizes), dtype=np.uint64)
    start = 0
    for size in sizes:
        power = 1
        for row in reversed(range(-(-size // LANES))):
            part = factors[start + row * LANES : start + min(size, (row + 1) * LANES)]
            np.multiply(LANE_WEIGHTS[: part.size], np.uint64(power), out=part)
            power = power * int(MULTIPLIER) % 2**64
        start += size
    return torch.from_numpy(factors.view(np.int64)).to(device)
