from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DistributedSampler, TensorDataset
from torchvision import datasets, transforms

from shared.data import EpochSampler, ImageDataset, MNISTData
from shared.datasets.catalog import Images, load, load_5k
from shared.options.train import Config as TrainConfig


@pytest.fixture
def whole(small: TrainConfig) -> TrainConfig:
    """Return options without limits."""
    return replace(small, limit_train_batches=None, limit_val_batches=None)


@pytest.fixture
def data(whole: TrainConfig) -> MNISTData:
    data = MNISTData(whole)
    data.prepare_data()
    data.setup("fit")
    data.setup("test")
    return data


@pytest.mark.parametrize(
    ("train", "size"),
    [pytest.param(True, 60_000, marks=pytest.mark.slow), (False, 10_000)],
)
def test_batches_are_as_torchvision_makes_each_image(
    mnist_dir: Path, train: bool, size: int
) -> None:
    to_tensor = transforms.Compose(
        [transforms.ToTensor(), transforms.Normalize(0.5, 0.5)]
    )
    theirs = datasets.MNIST(mnist_dir, train=train, transform=to_tensor)
    ours = ImageDataset(load("mnist", mnist_dir, train))
    assert len(ours) == len(theirs) == size
    for start in range(0, size, 1000):
        indices = range(start, start + 1000)
        images, labels = ours.__getitems__(indices)
        assert torch.equal(images, torch.stack([theirs[i][0] for i in indices]))
        assert labels.tolist() == [theirs[i][1] for i in indices]


def test_every_pixel_value_is_as_torchvision_makes_it() -> None:
    pixels = torch.arange(256, dtype=torch.uint8).repeat(4)[:784].reshape(1, 28, 28)
    images, _ = ImageDataset(Images(pixels, torch.zeros(1).long())).__getitems__([0])
    to_tensor = transforms.Compose(
        [transforms.ToTensor(), transforms.Normalize(0.5, 0.5)]
    )
    assert torch.equal(images[0], to_tensor(pixels[0].unsqueeze(-1).numpy()))


def test_full_mnist_is_split_55000_5000_10000(
    small: TrainConfig, mnist_dir: Path
) -> None:
    data = MNISTData(replace(small, dataset="auto", data_dir=mnist_dir))
    data.prepare_data()
    data.setup("fit")
    data.setup("test")
    assert data.dataset_name == "mnist"
    sizes = [len(part) for part in (data.train_set, data.val_set, data.test_set)]
    assert sizes == [55_000, 5_000, 10_000]


def test_the_5000_digits_are_split_4000_500_500(data: MNISTData) -> None:
    loaders = (
        data.train_dataloader(),
        data.val_dataloader(),
        data.test_dataloader(),
        data.predict_dataloader(),
    )
    sizes = [sum(len(labels) for _, labels in loader) for loader in loaders]
    assert sizes == [4000, 500, 500, 500]
    images, labels = next(iter(loaders[0]))
    assert images.shape == (64, 1, 28, 28)
    assert images.dtype == torch.float32
    assert images.min() == -1
    assert images.max() == 1
    assert labels.dtype == torch.int64
    assert set(labels.tolist()) == set(range(10))


def test_limits_leave_the_first_batches_of_an_epoch(
    small: TrainConfig, data: MNISTData
) -> None:
    limited = MNISTData(replace(small, limit_train_batches=2, limit_val_batches=1))
    limited.setup("fit")
    pairs = [
        (limited.train_dataloader(), data.train_dataloader(), 2),
        (limited.val_dataloader(), data.val_dataloader(), 1),
    ]
    for few, all_batches, limit in pairs:
        batches = list(few)
        assert len(few) == len(batches) == limit
        for (images, _), (first, _) in zip(batches, all_batches, strict=False):
            assert torch.equal(images, first)


def test_a_limit_above_the_number_of_batches_leaves_all(small: TrainConfig) -> None:
    data = MNISTData(replace(small, limit_train_batches=10**6, limit_val_batches=10**6))
    data.setup("fit")
    assert [len(data.train_dataloader()), len(data.val_dataloader())] == [63, 8]
    assert sum(len(labels) for _, labels in data.train_dataloader()) == 4000


def test_no_image_is_in_two_parts(data: MNISTData) -> None:
    def digests(images: Images) -> list[bytes]:
        return [pixels.numpy().tobytes() for pixels in images.pixels]

    parts = [data.train_set.images, data.val_set.images, data.test_set.images]
    together = [digest for part in parts for digest in digests(part)]
    assert sorted(together) == sorted(digests(load_5k()))


def test_a_run_ends_with_the_data_it_began_with(
    small: TrainConfig, mnist_dir: Path
) -> None:
    data = MNISTData(replace(small, dataset="auto"))
    data.setup("fit")
    # Meanwhile somebody downloads MNIST into the folder.
    small.data_dir.symlink_to(mnist_dir.resolve())
    data.setup("test")
    assert data.dataset_name == "mnist-5k"
    assert len(data.test_set) == 500


def test_the_split_does_not_depend_on_the_seed(
    small: TrainConfig, data: MNISTData
) -> None:
    other = MNISTData(replace(small, seed=7))
    other.setup("fit")
    assert torch.equal(other.val_set.images.pixels, data.val_set.images.pixels)


def test_the_order_is_that_of_torch_s_distributed_sampler() -> None:
    ours = EpochSampler(101, seed=3)
    images = TensorDataset(torch.zeros(101))
    theirs: DistributedSampler[Any] = DistributedSampler(
        images, num_replicas=1, rank=0, seed=3
    )
    orders = []
    for epoch in range(3):
        ours.set_epoch(epoch)
        theirs.set_epoch(epoch)
        assert list(ours) == list(theirs)
        orders.append(list(ours))
    assert orders[0] != orders[1] != orders[2]


def test_loaders_leave_the_global_generator_alone(data: MNISTData) -> None:
    before = torch.get_rng_state()
    for loader in (data.train_dataloader(), data.val_dataloader()):
        assert len(list(loader)) == len(loader)
    assert torch.equal(torch.get_rng_state(), before)


def test_workers_bring_the_same_batches(whole: TrainConfig, data: MNISTData) -> None:
    other = MNISTData(replace(whole, num_workers=2))
    other.setup("fit")
    ours, theirs = data.train_dataloader(), other.train_dataloader()
    for (images, labels), (their_images, their_labels) in zip(
        ours, theirs, strict=True
    ):
        assert torch.equal(images, their_images)
        assert torch.equal(labels, their_labels)
