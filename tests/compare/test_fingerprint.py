import math
import struct
import subprocess
import sys

import pytest
import torch
from torch import Tensor

from compare.fingerprint import LANES, _on_device, fingerprint

SIZES = [1, 3, 1000, 2 * LANES, 2 * LANES + 1, 5 * LANES + 7]


def word(tensor: Tensor | None) -> int:
    return int(fingerprint([tensor]).words()[0])


@pytest.mark.parametrize("size", SIZES)
def test_one_changed_bit_anywhere_is_seen(size: int) -> None:
    values = torch.randn(size)
    before = word(values)
    for position in {0, size // 2, size - 1}:
        for bit in (0, 12, 23, 30, 31):
            changed = values.clone()
            changed.view(torch.int32)[position] ^= torch.tensor(
                1 << bit if bit < 31 else -(2**31), dtype=torch.int32
            )
            assert word(changed) != before


@pytest.mark.parametrize("size", SIZES[1:])
def test_swapping_two_elements_is_seen(size: int) -> None:
    values = torch.arange(size)
    swapped = values.clone()
    swapped[0], swapped[-1] = values[-1], values[0]
    assert word(swapped) != word(values)


def test_signs_are_seen_even_in_every_second_element() -> None:
    values = torch.randn(8 * LANES)
    negated = values.clone()
    negated[1::2] *= -1
    assert len({word(values), word(negated), word(-values)}) == 3
    zeros = torch.zeros(4 * LANES)
    odd = zeros.clone()
    odd[[1, 2 * LANES + 1]] = -0.0
    assert len({word(zeros), word(odd), word(-zeros)}) == 3


def test_nan_payloads_are_seen() -> None:
    one, other = (
        torch.tensor(struct.unpack("<q", struct.pack("<Q", 0x7FF8000000000000 + n)))
        for n in (0, 1)
    )
    one, other = one.view(torch.float64), other.view(torch.float64)
    assert math.isnan(one.item())
    assert math.isnan(other.item())
    assert word(one) != word(other)


def test_shape_strides_and_offset_do_not_matter() -> None:
    values = torch.randn(30, 70)
    assert word(values) == word(values.view(-1)) == word(values.t().contiguous().t())
    shifted = torch.empty(2101)
    shifted[1:] = values.view(-1)
    assert word(shifted[1:]) == word(values)


def test_no_gradient_is_like_zeros() -> None:
    assert word(None) == word(torch.zeros(5)) == 0


@pytest.mark.parametrize(
    "dtype",
    [
        torch.float64,
        torch.bfloat16,
        torch.float16,
        torch.int64,
        torch.uint8,
        torch.bool,
        torch.complex64,
    ],
)
def test_all_dtypes_have_a_fingerprint_and_a_norm(dtype: torch.dtype) -> None:
    values = torch.tensor([3, 0, 4, 1, 1]).to(dtype)
    prints = fingerprint([values])
    assert word(values) != word(values.flip(0))
    assert prints.norm() == pytest.approx(float(values.to(torch.complex128).norm()))


def test_sparse_and_empty_tensors_are_read() -> None:
    dense = torch.eye(4)
    assert word(dense.to_sparse()) == word(dense)
    assert word(torch.empty(0)) == 0


def test_the_sum_for_other_devices_is_the_same() -> None:
    tensors = [torch.randn(size) for size in SIZES] + [torch.randn(9).bfloat16()]
    host, device = fingerprint(tensors), _on_device(tensors)
    assert host.words().tolist() == device.words().tolist()
    assert host.combined() == device.combined()
    assert host.each() == device.each()
    assert host.norm() == pytest.approx(device.norm())


def test_another_process_with_more_threads_gives_the_same() -> None:
    code = (
        "import torch; from compare.fingerprint import fingerprint;"
        "torch.set_num_threads(2);"
        "print(fingerprint([torch.arange(200000.)]).combined())"
    )
    there = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    here = fingerprint([torch.arange(200000.0)]).combined()
    assert there.stdout.strip() == here


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_gpu_gives_the_same() -> None:
    tensors = [torch.randn(size) for size in SIZES]
    there = fingerprint([t.cuda() for t in tensors])
    assert there.combined() == fingerprint(tensors).combined()
