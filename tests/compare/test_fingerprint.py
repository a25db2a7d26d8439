from collections.abc import Callable

import pytest
import torch

from compare.trace.fingerprint import (
    batch_fingerprint,
    fingerprints,
    packed_sums,
    plain,
)

Fingerprint = Callable[[torch.Tensor], int]


def of(tensor: torch.Tensor) -> int:
    return int(fingerprints([plain(tensor)])[0])


def whole(tensor: torch.Tensor) -> int:
    return int(batch_fingerprint(plain(tensor))[0])


def of_rows(tensor: torch.Tensor) -> int:
    return int(batch_fingerprint(tensor)[1])


def as_on_a_gpu(tensor: torch.Tensor) -> int:
    data = tensor.resolve_conj().resolve_neg().contiguous().reshape(-1)
    padding = torch.zeros(1, dtype=torch.uint8)  # a second tensor in the same pack
    return int(packed_sums([padding, data.view(torch.uint8)])[1])


BOTH = pytest.mark.parametrize("fingerprint", [of, whole, as_on_a_gpu])


@BOTH
def test_tells_zero_from_minus_zero(fingerprint: Fingerprint) -> None:
    assert fingerprint(torch.tensor([0.0])) != fingerprint(torch.tensor([-0.0]))


@BOTH
def test_tells_one_nan_from_another(fingerprint: Fingerprint) -> None:
    bits = torch.tensor([0x7FC00000, 0x7FC00001], dtype=torch.int32)
    one, other = bits.view(torch.float32)
    assert fingerprint(one) != fingerprint(other)
    assert fingerprint(one) == fingerprint(one.clone())


@BOTH
@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.bfloat16, torch.int8, torch.bool]
)
def test_every_single_bit_counts(fingerprint: Fingerprint, dtype: torch.dtype) -> None:
    tensor = torch.zeros(3, 5, dtype=dtype)
    seen = {fingerprint(tensor)}
    flipped = 0
    for byte in range(tensor.numel() * tensor.element_size()):
        for bit in range(1 if dtype == torch.bool else 8):
            changed = tensor.clone()
            changed.view(torch.uint8).view(-1)[byte] ^= 1 << bit
            seen.add(fingerprint(changed))
            flipped += 1
    assert len(seen) == flipped + 1


@BOTH
def test_every_pair_of_signs_counts(fingerprint: Fingerprint) -> None:
    """Signs are the highest bits, which a product loses first."""
    tensor = torch.rand(1, 40)
    seen = set()
    for i in range(40):
        for j in range(i):
            changed = tensor.clone()
            changed[0, [i, j]] *= -1
            seen.add(fingerprint(changed))
    assert len(seen) == 40 * 39 // 2


@BOTH
def test_depends_on_position(fingerprint: Fingerprint) -> None:
    tensor = torch.randn(8, 8)
    assert fingerprint(tensor) != fingerprint(tensor.t())
    assert fingerprint(tensor) != fingerprint(tensor.flip(0))
    assert fingerprint(tensor) != fingerprint(tensor.flip(1))


@BOTH
def test_does_not_depend_on_strides_or_offset(fingerprint: Fingerprint) -> None:
    base = torch.randn(9, 6)
    for view in (
        base.t(),
        base[1:],
        base[:, ::2],
        base.flatten()[1:],
        base[:1].expand(4, 6),
    ):
        assert fingerprint(view) == fingerprint(view.clone().contiguous())


@BOTH
def test_conjugate_and_negative_views(fingerprint: Fingerprint) -> None:
    tensor = torch.randn(4, 4, dtype=torch.complex64)
    assert fingerprint(tensor.conj()) == fingerprint(tensor.conj().resolve_conj())
    assert fingerprint(tensor.conj()) != fingerprint(tensor)
    assert fingerprint(tensor.conj().imag) == fingerprint(tensor.imag * -1)


@BOTH
def test_flattened_samples_are_the_same_batch(fingerprint: Fingerprint) -> None:
    images = torch.randn(4, 1, 7, 3)
    assert fingerprint(images) == fingerprint(images.view(4, -1))


@BOTH
def test_zeros_of_another_length_differ(fingerprint: Fingerprint) -> None:
    shapes = [(1, 1), (1, 2), (2, 1), (3, 1)]
    prints = {fingerprint(torch.zeros(shape)) for shape in shapes}
    assert len(prints) >= 3  # 1 x 2 and 2 x 1 may agree: their bytes do
    assert fingerprint(torch.zeros(2)) != fingerprint(torch.zeros(3))


@BOTH
@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (3, 0), (1,)])
def test_odd_shapes(fingerprint: Fingerprint, shape: tuple[int, ...]) -> None:
    assert fingerprint(torch.ones(shape)) == fingerprint(torch.ones(shape))


def test_packing_does_not_change_a_fingerprint() -> None:
    data = [torch.randn(n).view(torch.uint8) for n in (1, 3, 513, 1024, 5000)]
    together = packed_sums(data).tolist()
    assert together == [int(packed_sums([d])[0]) for d in data]
    for index in range(5):
        changed = [d.clone() for d in data]
        changed[index][-1] ^= 128
        after = packed_sums(changed).tolist()
        assert [i for i in range(5) if after[i] != together[i]] == [index]


def test_the_hash_of_rows_does_not_depend_on_the_order_of_rows() -> None:
    batch = torch.randn(16, 5)
    order = torch.randperm(16, generator=torch.Generator().manual_seed(1))
    assert of_rows(batch) == of_rows(batch[order])
    assert whole(batch) != whole(batch[order])
    total = of_rows(batch[:7]) + of_rows(batch[7:])
    assert (of_rows(batch) - total) % 2**64 == 0
    assert of_rows(batch) != of_rows(batch.flip(1))


def test_sparse_tensors_count_by_their_entries() -> None:
    dense = torch.tensor([[0.0, 1.0], [2.0, 0.0]])
    assert of(dense.to_sparse()) == of(dense.to_sparse())
    assert of(dense.to_sparse()) != of((dense * 2).to_sparse())


def test_a_tensor_without_bytes_is_refused() -> None:
    with pytest.raises(TypeError, match="no bytes"):
        of(torch.empty(3, device="meta"))


def test_threads_and_gradients_do_not_matter() -> None:
    tensor = torch.randn(300, 300, requires_grad=True)
    with torch.inference_mode():
        inside = of(tensor), whole(tensor)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    assert (of(tensor), whole(tensor)) == inside
    torch.set_num_threads(before)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
class TestOnGPU:
    def test_a_batch_has_the_same_fingerprint_everywhere(self) -> None:
        for shape in [(64, 784), (5, 3), (1,), (200, 3, 32, 32)]:
            batch = torch.randn(shape)
            assert batch_fingerprint(batch.cuda()).tolist() == (
                batch_fingerprint(batch).tolist()
            )

    def test_packed_tensors_are_told_apart(self) -> None:
        tensors = [torch.randn(n, device="cuda") for n in (1, 3, 513, 4096, 100_000)]
        before = fingerprints(tensors).tolist()
        for index, tensor in enumerate(tensors):
            tensor[-1] *= -1
            after = fingerprints(tensors).tolist()
            changed = [i for i in range(5) if after[i] != before[i]]
            assert changed == [index]
            tensor[-1] *= -1
        assert fingerprints(tensors).tolist() == before
        assert [int(fingerprints([t])[0]) for t in tensors] == before

    def test_large_tensors_are_hashed_in_parts(self) -> None:
        big = torch.randn(40_000_000, device="cuda")
        before = int(fingerprints([big])[0])
        big[[1, 39_999_999]] = big[[39_999_999, 1]]
        assert int(fingerprints([big])[0]) != before

    def test_every_pair_of_signs_counts(self) -> None:
        tensor = torch.rand(20, device="cuda")
        seen = set()
        for i in range(20):
            for j in range(i):
                changed = tensor.clone()
                changed[[i, j]] *= -1
                seen.add(int(fingerprints([changed])[0]))
        assert len(seen) == 190
