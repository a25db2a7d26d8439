"""Time the plain half's training epoch against the arithmetic that it must do.

    python -m compare.speed

Three ways to take the same steps take turns, ROUNDS times each:

- arithmetic: forward, backward and step on batches that are in memory already
- plain half: the training epoch of plain_pytorch/train.py, as it is
- per image: the same, with ToTensor and Normalize called on one image after the other
"""

import contextlib
import io
import platform
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from tabulate import tabulate
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from plain_pytorch.train import PlainAutoEncoder, fit
from shared.command import one_line_errors
from shared.config import Parser, TrainConfig
from shared.data import Batch, EpochSampler, MNISTData
from shared.datasets import Images

ROUNDS = 5


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


class PerImageMNIST(MNISTData):
    """The shared data, loaded the slow way."""

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return the batches of MNISTData, put together from single images."""
        return DataLoader(
            PerImageDataset(self.train_set.images),
            batch_size=self.config.batch_size,
            sampler=EpochSampler(len(self.train_set), self.config.seed),
        )


class TimedAutoEncoder(PlainAutoEncoder):
    """Notes when the training epoch begins, and when the validation after it does."""

    def train(self, mode: bool = True) -> "TimedAutoEncoder":
        """Note the time: the loop calls this at either moment."""
        self.times = [*getattr(self, "times", []), time.perf_counter()]
        super().train(mode)
        return self


def time_fit(data: MNISTData, config: TrainConfig) -> float:
    """Return the seconds that the plain half needs for the steps of an epoch."""
    model = TimedAutoEncoder(config.hidden_dim, config.latent_dim, config.learning_rate)
    no_bar = contextlib.redirect_stderr(io.StringIO())
    with tempfile.TemporaryDirectory() as run_dir, no_bar:
        fit(model, data, config, Path(run_dir))
    start, end = model.times
    return end - start


def time_arithmetic(batches: list[Batch], config: TrainConfig) -> float:
    """Return the seconds that the same steps need when all else is left out."""
    model = PlainAutoEncoder(config.hidden_dim, config.latent_dim, config.learning_rate)
    optimizer = model.configure_optimizers()
    start = time.perf_counter()
    for batch_idx, batch in enumerate(batches):
        loss = model.training_step(batch, batch_idx)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return time.perf_counter() - start


def main() -> None:
    """Print microseconds a step of the three, and their ratios."""
    config = Parser("python -m compare.speed", TrainConfig).parse_config()
    config = replace(config, max_epochs=1, limit_val_batches=1, accelerator="cpu")
    torch.set_num_threads(config.threads)
    data, per_image = MNISTData(config), PerImageMNIST(config)
    data.prepare_data()
    data.setup("fit")
    batches = list(data.train_dataloader())[: config.limit_train_batches]
    ways = {
        "arithmetic": lambda: time_arithmetic(batches, config),
        "plain half": lambda: time_fit(data, config),
        "per image": lambda: time_fit(per_image, config),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, measure in ways.items():
            times[name].append(measure() / len(batches) * 1e6)
    base = statistics.median(times["arithmetic"])
    rows = [
        (name, statistics.median(t), min(t), max(t), statistics.median(t) / base)
        for name, t in times.items()
    ]
    print(
        f"{data.dataset_name}, {len(batches)} steps of {config.batch_size} images,"
        f" {config.threads} thread(s), {ROUNDS} rounds;"
        f" torch {torch.__version__}, {platform.machine()}, Python"
        f" {platform.python_version()}"
    )
    headers = ["us a step", "median", "min", "max", "of arithmetic"]
    print(tabulate(rows, headers, floatfmt=("", ".0f", ".0f", ".0f", ".2f")))


if __name__ == "__main__":
    with one_line_errors():
        main()
