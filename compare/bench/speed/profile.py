"""Where a step's time goes: samples of the call stack, and what options give back."""

import signal
from collections import Counter
from collections.abc import Callable
from types import FrameType
from typing import Any

from pytorch_lightning.callbacks import ProgressBar
from torch import Tensor

from compare.bench.speed.ladder import stripped, timed
from compare.bench.speed.options import WARM_UP
from compare.bench.speed.turns import Samples, take_turns
from compare.bench.speed.ways import (
    Clock,
    LitModel,
    LoadedData,
    Options,
    PlainModel,
    build,
    lightning_half,
    plain_half,
)
from shared.data import Batch
from shared.options.train import LOG_EVERY_N_STEPS

EVERY = 0.005
"""Seconds of processor time from one look at the stack to the next."""
RULES: list[tuple[str, str, set[str]]] = [
    ("Adam looks for a GPU", "torch/accelerator/", set()),
    ("arithmetic", "shared/model.py", set()),
    ("arithmetic", "torch/_tensor.py", {"backward"}),
    ("arithmetic", "torch/optim/", set()),
    ("self.log: moves its metric to the device", "logger_connector/result.py", {"to"}),
    ("self.log: the rest", "pytorch_lightning/core/module.py", {"log"}),
    ("check of the loss", "shared/runtime/errors.py", set()),
    ("check of the loss", "pytorch_lightning/core/module.py", {"global_step"}),
    ("check of the loss", "lightning/train.py", {"training_step"}),
    ("progress bar", "callbacks/progress/", set()),
    ("progress bar", "/tqdm/", set()),
    ("writing the curves", "/tensorboard/", set()),
    ("writing the curves", "/loggers/", set()),
    ("writing the curves", "plain_pytorch/train.py", {"log_metric"}),
    ("metrics of the step", "logger_connector/logger_connector.py", set()),
    ("fetching batches", "loops/fetchers.py", set()),
    ("fetching batches", "utils/data/dataloader.py", set()),
    ("fetching batches", "utilities/combined_loader.py", set()),
    ("hooks and callbacks", "trainer/call.py", set()),
    ("hooks and callbacks", "callbacks/", set()),
    ("loops of the Trainer", "pytorch_lightning/", set()),
    ("the loop itself", "plain_pytorch/train.py", {"fit"}),
]
"""What a function's time counts as: the innermost on the stack that is listed here."""


def classify(frame: FrameType | None) -> str:
    """Return what the program is doing."""
    while frame:
        path, function = frame.f_code.co_filename, frame.f_code.co_name
        for name, where, functions in RULES:
            if where in path and (not functions or function in functions):
                return name
        frame = frame.f_back
    return "other"


class Sampled(Clock):
    """Goes before a model with a clock: looks at the stack while steps are counted."""

    stacks: Counter[str]

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Switch the sampling on after the warm-up, and off at the epoch's end."""
        if batch_idx == WARM_UP:
            if len(self.epochs) == 1:
                self.stacks = Counter()
            signal.signal(signal.SIGPROF, self.look)
            signal.setitimer(signal.ITIMER_PROF, EVERY, EVERY)
        if batch_idx == self.last:
            signal.setitimer(signal.ITIMER_PROF, 0)
        return super().training_step(batch, batch_idx)

    def look(self, number: int, frame: FrameType | None) -> None:
        """Count what the program is doing now."""
        self.stacks[classify(frame)] += 1


class SampledPlain(Sampled, PlainModel):
    """The plain half's model, sampled."""


class SampledLit(Sampled, LitModel):
    """The Lightning half's model, sampled."""


class OneLogModel(LitModel):
    """The Lightning half's model with one `self.log` for a loss and its mean."""

    def log(self, *args: Any, **options: Any) -> None:
        """Log the first of the two as both."""
        if args[0] == "train_loss":
            super().log(*args, **options | {"on_step": True, "on_epoch": True})
        elif args[0] != "train_loss_epoch":
            super().log(*args, **options)


class NoLogModel(LitModel):
    """The Lightning half's model without `self.log` in the training step."""

    def log(self, *args: Any, **options: Any) -> None:
        """Log only what `ModelCheckpoint` needs."""
        if args[0] == "val_loss":
            super().log(*args, **options)


def without_bar(options: Options) -> Options:
    """Return the options without the progress bar."""
    callbacks = [c for c in options["callbacks"] if not isinstance(c, ProgressBar)]
    return options | {"callbacks": callbacks, "enable_progress_bar": False}


def measure_gains(data: LoadedData, rounds: int) -> Samples:
    """Return the times of the Lightning half, each time without something else."""
    way = timed(lightning_half, LitModel, data)
    fewer = {"log_every_n_steps": 5 * LOG_EVERY_N_STEPS}
    return take_turns(
        {
            "as it is": way,
            "logger=False": lambda: way(change=lambda o: o | {"logger": False}),
            "log_every_n_steps=50": lambda: way(change=lambda o: o | fewer),
            "enable_progress_bar=False": lambda: way(change=without_bar),
            "no logger, bar, checkpoint": lambda: way(change=stripped),
            "Adam asks for a GPU as without Lightning": lambda: way(gpu_check=False),
            "one self.log a step": timed(lightning_half, OneLogModel, data),
            "no self.log in a step": timed(lightning_half, NoLogModel, data),
        },
        rounds,
    )


def look_at(
    train: Callable[..., None], model_class: type[Any], data: LoadedData
) -> dict[str, Any]:
    """Return how often each kind of work was seen, and the times of the step."""
    model = build(model_class, data.config)
    before = signal.getsignal(signal.SIGPROF)
    try:
        train(model, data)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    return {"seen": dict(model.stacks.most_common()), "sample": model.sample()}


def measure(data: LoadedData, rounds: int) -> dict[str, Any]:
    """Return the profile of both halves, and what options give back."""
    longer = data.changed(max_epochs=data.config.max_epochs * rounds)
    return {
        "plain": look_at(plain_half, SampledPlain, longer),
        "lightning": look_at(lightning_half, SampledLit, longer),
        "gains": measure_gains(data, rounds),
    }
