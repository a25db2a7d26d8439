"""A batch, fetched and normalized as a whole, or image by image."""

from functools import partial
from typing import Any

from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import Compose, Normalize, ToTensor
from torchvision.transforms.functional import to_pil_image

from compare.bench.halves import load
from compare.bench.report import compared
from compare.bench.turns import now, same_as_first, take_turns
from shared.data import Batch, ImageDataset
from shared.options.train import Config as TrainConfig


class OneByOne(Dataset[Batch]):
    """Images that are transformed one at a time, as torchvision's MNIST does it."""

    def __init__(self, dataset: ImageDataset) -> None:
        self.images = dataset.images
        self.transform = Compose([ToTensor(), Normalize(0.5, 0.5)])

    def __getitem__(self, index: int) -> Batch:
        image = to_pil_image(self.images.pixels[index])
        return self.transform(image), self.images.labels[index]


def seconds_a_batch(loader: DataLoader[Batch]) -> float:
    """Return the mean time that it takes to get a batch."""
    start = now()
    for _ in loader:
        pass
    return (now() - start) / len(loader)


def measure(config: TrainConfig, rounds: int) -> dict[str, Any]:
    """Return the seconds of a batch both ways, and whether the first ones are equal."""
    data = load(config)
    sampler = data.train_sampler()
    one_by_one = OneByOne(data.train_set)
    loaders = {
        "whole batches": data.train_dataloader(),
        "image by image": DataLoader(one_by_one, config.batch_size, sampler=sampler),
    }
    ways = {name: partial(seconds_a_batch, one) for name, one in loaders.items()}
    seconds = take_turns(ways, rounds)
    first = {name: next(iter(loader)) for name, loader in loaders.items()}
    return {"seconds": seconds, "same": same_as_first(first)}


def report(results: dict[str, Any], form: str) -> str:
    """Return a table with a row for each way."""
    return compared(results, "one batch", "times whole batches", form)
