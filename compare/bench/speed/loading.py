"""The input: whole batches, or ToTensor on each image, by 0 to 2 other processes."""

from functools import partial
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from compare.bench.speed.ladder import timed
from compare.bench.speed.turns import Samples, take_turns
from compare.bench.speed.ways import LoadedData, PlainModel, plain_half
from shared.data import Batch, EpochSampler
from shared.datasets.catalog import Images

WORKERS = (0, 1, 2)


class PerImageDataset(Dataset[Any]):
    """Images one by one, as a torchvision data set gives them."""

    def __init__(self, images: Images) -> None:
        self.images = images
        self.transform = transforms.Compose(
            [transforms.ToTensor(), transforms.Normalize(0.5, 0.5)]
        )

    def __len__(self) -> int:
        return len(self.images.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = Image.fromarray(self.images.pixels[index].numpy())
        return self.transform(image), int(self.images.labels[index])


class PerImageData(LoadedData):
    """The shared data, loaded as in most tutorials."""

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return the batches of MNISTData, put together from single images."""
        return DataLoader(
            PerImageDataset(self.train_set.images),
            batch_size=self.config.batch_size,
            sampler=EpochSampler(len(self.train_set), self.config.seed),
            num_workers=self.config.num_workers,
            generator=torch.Generator().manual_seed(self.config.seed),
        )


def measure(data: LoadedData, rounds: int) -> Samples:
    """Return the times of the plain half with each way to load the images."""
    per_image = PerImageData(data.config)
    per_image.train_set, per_image.val_set = data.train_set, data.val_set
    ways = {}
    for name, source in (("whole batches", data), ("per image", per_image)):
        for workers in WORKERS:
            loaded = source.changed(num_workers=workers)
            ways[f"{name}, {workers}"] = partial(timed(plain_half, PlainModel, loaded))
    return take_turns(ways, rounds)
