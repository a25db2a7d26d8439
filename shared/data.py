"""The data of both halves, with the hooks of a LightningDataModule."""

import hashlib
import signal
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.distributed import DistributedSampler

from shared.datasets.catalog import Images, load, prepare, resolve_auto
from shared.options.common import RunConfig

Batch = Sequence[Tensor]
"""Images, (batch, 1, 28, 28) of float32 in -1..1, and labels, (batch,) of int64.

In the lesson transfer, images can be (batch, 3, 32, 32).
"""


class ImageDataset(Dataset[Batch]):
    """Images that are fetched, scaled and normalized a whole batch at a time.

    Equal to the last bit to torchvision's ToTensor and Normalize(0.5, 0.5) on every
    image, and several times faster.

    Args:
        images: the pixels and labels of all images.
    """

    def __init__(self, images: Images) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images.labels)

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """Return the batch of these images: a DataLoader calls this once a batch."""
        pixels, labels = self.images.select(torch.tensor(indices))
        height_width = pixels.shape[-2:]
        images = pixels.reshape(len(pixels), -1, *height_width)  # one channel, or three
        return images.float().div_(255).sub_(0.5).div_(0.5), labels


class EpochSampler(DistributedSampler[int]):
    """Every index once, in an order that depends on the seed and the epoch alone.

    The order of a loader with shuffle=True depends on all random numbers drawn before.
    This one, that of torch's DistributedSampler, does not. Call `set_epoch` before each
    epoch; Lightning does so by itself.

    Args:
        size: number of indices.
        seed: the seed of the run.
        num_replicas: number of processes that share the indices; by default those of
            the process group, or one if there is none. Each gets the same number of
            indices; if they do not divide, the first ones are used twice.
        rank: number of this process, counted from 0; by default that in the group.
        limit: number of indices of each epoch to use, instead of all.

    Attributes:
        skip: number of indices that the next pass, and only that one, leaves out at
            its start, because a resumed run has seen them already.
    """

    def __init__(
        self,
        size: int,
        seed: int,
        num_replicas: int | None = None,
        rank: int | None = None,
        limit: int | None = None,
    ) -> None:
        if not dist.is_initialized():
            num_replicas, rank = num_replicas or 1, rank or 0
        super().__init__(range(size), num_replicas, rank, seed=seed)  # type: ignore[arg-type]
        self.limit = self.num_samples if limit is None else limit
        self.skip = 0

    def __iter__(self) -> Iterator[int]:
        skip, self.skip = self.skip, 0
        return islice(super().__iter__(), skip, self.limit)

    def __len__(self) -> int:
        return min(self.num_samples, self.limit)


def identity_collate(batch: Batch) -> Batch:
    """Return a batch as it is: `__getitems__` has already assembled it."""
    return batch


def leave_signals_to_the_parent(_worker: int) -> None:
    """Ignore Ctrl-C, which reaches loader processes too; the parent ends them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


class MNISTData:
    """Images to train, validate, test and predict on.

    `mnist` and `fashion-mnist` have 55,000 images to train, 5,000 to validate and
    10,000 to test; `cifar10` has 45,000, 5,000 and 10,000; `mnist-5k` has 4,000, 500
    and 500. The hooks have the names and the order of a LightningDataModule's; the
    Lightning half adds that class as a second base.

    Attributes:
        dataset_name: the data set in use; after `setup` never `auto`.
    """

    def __init__(self, config: RunConfig) -> None:
        super().__init__()
        self.config = config
        self.dataset_name: str = config.dataset
        self.prepared = False

    def prepare_data(self) -> None:
        """Download what is missing. Call it in one process per machine.

        Raises:
            UserError: the download failed.
        """
        if not self.prepared:  # a Trainer calls this for fit, and again for test
            prepare(self.config.dataset, self.config.data_dir)
            self.prepared = True

    def setup(self, stage: str) -> None:
        """Load the images that `fit`, `validate`, `test` or `predict` needs.

        Raises:
            UserError: a file is missing or damaged.
        """
        if self.dataset_name == "auto":  # only once: a run keeps its data set
            self.dataset_name = resolve_auto(self.config.data_dir)
        train = stage in ("fit", "validate")
        images = load(self.dataset_name, self.config.data_dir, train)
        if train:
            # A generator of its own: the split is the same for every --seed.
            generator = torch.Generator().manual_seed(42)
            order = torch.randperm(len(images.labels), generator=generator)
            val_size = 500 if self.dataset_name == "mnist-5k" else 5000
            self.train_set = ImageDataset(images.select(order[val_size:]))
            self.val_set = ImageDataset(images.select(order[:val_size]))
        else:
            self.test_set = ImageDataset(images)

    @cached_property
    def digest(self) -> str:
        """The checksum of the training images and of their order."""
        digest = hashlib.sha256()
        for part in self.train_set.images:
            digest.update(part.numpy().tobytes())
        return digest.hexdigest()

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return the batches to learn from, in an order of their own each epoch."""
        return self.dataloader(self.train_set, self.train_sampler())

    def train_sampler(self) -> EpochSampler:
        """Return the order to learn in."""
        size = len(self.train_set)
        return EpochSampler(size, self.config.seed, limit=self.limit("train"))

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return the batches to validate on, always in the same order."""
        return self.dataloader(self.val_set, self.first("val", self.val_set))

    def test_dataloader(self) -> DataLoader[Batch]:
        """Return the batches to test on, always in the same order."""
        return self.dataloader(self.test_set, self.first("test", self.test_set))

    def predict_dataloader(self) -> DataLoader[Batch]:
        """Return the batches of the test again, to predict."""
        return self.dataloader(self.test_set, self.first("predict", self.test_set))

    def limit(self, stage: str) -> int | None:
        """Return the number of images --limit-STAGE-batches allows a process.

        None means all: the lesson has no such option, it is not given, or it is a share
        of the batches, which only the lesson debugging has; its loop applies it.
        """
        batches = getattr(self.config, f"limit_{stage}_batches", None)
        return batches * self.config.batch_size if isinstance(batches, int) else None

    def first(self, stage: str, dataset: ImageDataset) -> Any:
        """Return the range of the images that the limit allows all processes together.

        Not declared as a range: a DistributedSampler takes one, but its types deny it.
        """
        limit = self.limit(stage)
        if limit is None:
            return range(len(dataset))
        return range(min(len(dataset), limit * self.config.world_size))

    def dataloader(
        self, dataset: Dataset[Batch], sampler: Iterable[int]
    ) -> DataLoader[Batch]:
        """Return the images at the sampler's indices, in whole batches."""
        return DataLoader(
            dataset,
            batch_size=self.config.batch_size,
            sampler=sampler,
            num_workers=self.config.num_workers,
            collate_fn=identity_collate,
            worker_init_fn=leave_signals_to_the_parent,
            # Without its own generator, a loader draws a number from the global one
            # each time it is iterated, and changes all random numbers after that.
            generator=torch.Generator().manual_seed(self.config.seed),
        )
