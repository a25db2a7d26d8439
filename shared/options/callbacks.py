"""The options of the lesson `callbacks`."""

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Literal

from jsonargparse.typing import ClosedUnitInterval, restricted_number_type

from shared.options.train import Count, LearningRate, TrainConfig, option_name
from shared.runtime.errors import UsageError

if TYPE_CHECKING:  # to a type checker, a number within a range is a number
    Patience = int
    Delta = float
    Finite = float
    Decay = float
else:
    Patience = restricted_number_type("Patience", int, [(">=", 0), ("<", 2**31)])
    Delta = restricted_number_type("Delta", float, [(">=", 0), ("<", inf)])
    Finite = restricted_number_type("Finite", float, [(">", -inf), ("<", inf)])
    Decay = ClosedUnitInterval

USED_BY = {"decay": ("ema",), "swa_epoch_start": ("mean", "swa"), "swa_lrs": ("swa",)}
"""The options of some averages only, and of which."""


@dataclass(frozen=True)
class CallbacksConfig(TrainConfig):
    """The options of a training in which something happens between the epochs."""

    patience: Patience = 3
    """Stop after this many epochs without a better validation loss; 0 is as 1."""
    min_delta: Delta = 0.0
    """A validation loss is better if it is so by more than this."""
    mode: Literal["min", "max"] = "min"
    """Whether a lower or a higher validation loss is better, to early stopping."""
    check_finite: bool = True
    """Stop when the validation loss is nan or infinite."""
    stopping_threshold: Finite | None = None
    """Stop when the validation loss is better than this."""
    lr_scheduler: Literal["none", "step", "cosine", "one-cycle", "plateau"] = "none"
    """How the learning rate changes: halved by every epoch, along half a cosine, up
    and down in every step, or halved where the validation loss gets no better."""
    weight_averaging: Literal["none", "ema", "mean", "swa"] = "none"
    """Which average of the weights to validate and keep: an exponential moving one, or
    the mean over the epochs from --swa-epoch-start on. swa is that mean as Lightning's
    StochasticWeightAveraging takes it: one epoch earlier, and kept only at the end."""
    decay: Decay = 0.99
    """How much of the exponential moving average stays in every step."""
    swa_epoch_start: Count = 2
    """First epoch of the mean, counted from 1."""
    swa_lrs: LearningRate = 5e-4
    """Learning rate towards which swa moves from then on."""
    every_n_epochs: Count = 1
    """Epochs from one picture of reconstructions to the next."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, averages in USED_BY.items():
            given = getattr(self, name) != getattr(CallbacksConfig, name)
            if given and self.weight_averaging not in averages:
                raise UsageError(
                    f"{option_name(name)} has no use with --weight-averaging"
                    f" {self.weight_averaging}, but with {' or '.join(averages)}"
                )
        # Lightning takes all of these without a word that stops it. An average that
        # begins too late is that of the untrained weights; one-cycle stops in the
        # middle; other schedules would never move where swa begins at once.
        if (
            self.weight_averaging in ("mean", "swa")
            and self.swa_epoch_start > self.max_epochs
        ):
            raise UsageError(
                f"--swa-epoch-start {self.swa_epoch_start} is never reached: it must"
                f" not be above --max-epochs {self.max_epochs}"
            )
        replaced = self.lr_scheduler == "one-cycle" or (
            self.lr_scheduler != "none" and self.swa_epoch_start == 1
        )
        if self.weight_averaging == "swa" and replaced:
            raise UsageError(
                "--weight-averaging swa puts a schedule of its own in the place of"
                f" --lr-scheduler {self.lr_scheduler} from epoch {self.swa_epoch_start}"
                " on: take mean or ema, or leave out --lr-scheduler"
            )
