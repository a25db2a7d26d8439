"""The ways to train whose steps are timed, each from the file that teaches it.

A step is timed from the beginning of one training step to that of the next, by the
clock and in processor time. On a busy machine the clock counts what other programs
take, and processor time does not.
"""

import copy
import io
import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import replace
from pathlib import Path
from time import perf_counter, process_time
from typing import Any
from unittest.mock import patch

import pytorch_lightning as pl
import torch
from torch import Tensor

from compare.bench.speed.options import WARM_UP
from lightning.train import LitAutoEncoder, LitMNIST, make_trainer
from plain_pytorch.train import PlainAutoEncoder, fit
from shared.data import Batch
from shared.options.train import TrainConfig

Options = dict[str, Any]
Sample = dict[str, float]
"""Microseconds a step, and milliseconds between two epochs: `clock`, `processor`,
`rest`."""
GPU_CHECK = "PYTORCH_NVML_BASED_CUDA_CHECK"
"""Set to 1 by importing pytorch_lightning: torch's Adam asks at each step for a GPU,
and asks another way then."""


class Enough(Exception):  # noqa: N818
    """Ends a training whose steps have been timed."""


class Clock:
    """Goes before a model: notes when each training step begins, for every epoch.

    Attributes:
        epochs: for every step of each epoch the clock, and the processor time so far.
        last: the last step of an epoch, counted from 0.
        stop: whether to end the training there.
    """

    epochs: list[list[tuple[float, float]]]
    last: int
    stop: bool

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Note the time, then do as the model does."""
        if batch_idx == 0:
            self.epochs = [*getattr(self, "epochs", []), []]
        if batch[0].is_cuda and batch_idx in (WARM_UP, self.last):
            torch.cuda.synchronize()
        self.epochs[-1].append((perf_counter(), process_time()))
        if self.stop and batch_idx == self.last:
            raise Enough
        return super().training_step(batch, batch_idx)  # type: ignore[misc]

    def sample(self, warm_up: int = WARM_UP) -> Sample:
        """Return the means over this training."""
        spans = [(epoch[warm_up], epoch[-1]) for epoch in self.epochs]
        steps = sum(len(epoch) - 1 - warm_up for epoch in self.epochs)
        clock, processor = (
            sum(end[which] - begin[which] for begin, end in spans) / steps * 1e6
            for which in (0, 1)
        )
        means = {"clock": clock, "processor": processor}
        if len(self.epochs) > 1:
            first, second = self.epochs[:2]
            means["rest"] = (second[0][0] - first[-1][0]) * 1e3
        return {name: round(mean, 2) for name, mean in means.items()}


class PlainModel(Clock, PlainAutoEncoder):
    """The plain half's model with a clock."""


class LitModel(Clock, LitAutoEncoder):
    """The Lightning half's model with a clock."""


class LoadedData(LitMNIST):
    """The data of either half, read from the disk only once."""

    config: TrainConfig

    def setup(self, stage: str) -> None:
        """Load the images at the first call."""
        if not hasattr(self, "train_set"):
            super().setup(stage)

    def changed(self, **changes: Any) -> "LoadedData":
        """Return the same images with other options."""
        other = copy.copy(self)
        other.config = replace(self.config, **changes)
        return other


@contextmanager
def aside() -> Iterator[Path]:
    """Yield a folder for a run that leaves nothing, neither files nor output."""
    log = logging.getLogger("pytorch_lightning")
    level = log.level
    log.setLevel(logging.ERROR)
    with (
        tempfile.TemporaryDirectory() as folder,
        redirect_stdout(io.StringIO()),
        redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
        suppress(Enough),
    ):
        warnings.simplefilter("ignore")
        try:
            yield Path(folder, "run")
        finally:
            log.setLevel(level)


@contextmanager
def gpu_check_of_lightning(wanted: bool) -> Iterator[None]:
    """Let Adam look for a GPU as where Lightning is imported, or as where it is not."""
    with patch.dict(os.environ, {GPU_CHECK: "1" if wanted else "0"}):
        yield


def build(model_class: type[Any], config: TrainConfig, steps: int | None = None) -> Any:
    """Return a model, always with the same weights, for so many steps or all."""
    torch.manual_seed(config.seed)
    model = model_class(config.hidden_dim, config.latent_dim, config.learning_rate)
    model.last = (steps or config.limit_train_batches or 0) - 1
    model.stop = steps is not None
    return model


def arithmetic(model: Any, batches: Iterable[Batch], use_cuda: bool) -> None:
    """Take a step with every batch: forward, backward, update, and nothing else."""
    if use_cuda:
        model.cuda()
    optimizer = model.configure_optimizers()
    with suppress(Enough), gpu_check_of_lightning(False):
        for batch_idx, batch in enumerate(batches):
            if use_cuda:
                batch = [tensor.cuda() for tensor in batch]
            loss = model.training_step(batch, batch_idx)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def plain_half(model: Any, data: LoadedData) -> None:
    """Train with the loop of plain_pytorch/train.py."""
    with aside() as run_dir, gpu_check_of_lightning(False):
        fit(model, data, data.config, run_dir)


def lightning_half(
    model: Any,
    data: LoadedData,
    change: Callable[[Options], Options] = dict,
    gpu_check: bool = True,
) -> None:
    """Train with the Trainer of lightning/train.py, with changed options."""
    trainer_class = pl.Trainer

    def changed_trainer(**options: Any) -> pl.Trainer:
        return trainer_class(**change(options))

    with (
        aside() as run_dir,
        gpu_check_of_lightning(gpu_check),
        patch.object(pl, "Trainer", changed_trainer),
    ):
        make_trainer(data.config, run_dir).fit(model, datamodule=data)
