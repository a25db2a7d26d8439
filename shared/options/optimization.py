"""The options of the lesson `optimization`."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from shared.options.train import Count, LearningRate, TrainConfig
from shared.runtime.errors import UsageError

if TYPE_CHECKING:
    ClipVal = float
else:
    ClipVal = LearningRate  # above 0, and finite


@dataclass(frozen=True)
class OptimizationConfig(TrainConfig):
    """The options of a training whose step can be changed."""

    optimizer: Literal["adam", "lbfgs", "two"] = "adam"
    """One Adam, LBFGS, or two Adams: the encoder's and the decoder's, in turn."""
    decoder_learning_rate: LearningRate | None = None
    """Learning rate of the decoder, where it is not that of the encoder."""
    warmup_steps: Count = 1
    """Steps in which the learning rate rises from 0, the last one at full rate."""
    accumulate_grad_batches: Count = 1
    """Batches whose gradients are added up before each step."""
    gradient_clip_val: ClipVal | None = None
    """Scale or cut gradients above this down to it; None leaves them as they are."""
    gradient_clip_algorithm: Literal["norm", "value"] = "norm"
    """What to limit: the norm of all gradients together, or the value of each."""

    def __post_init__(self) -> None:
        super().__post_init__()
        two, lbfgs = self.optimizer == "two", self.optimizer == "lbfgs"
        accumulates = self.accumulate_grad_batches > 1
        clips = self.gradient_clip_val is not None
        by_value = self.gradient_clip_algorithm == "value"
        reasons = {
            # The Trainer raises for these two ...
            "--accumulate-grad-batches needs one optimizer": two and accumulates,
            "--gradient-clip-val needs one optimizer": two and (clips or by_value),
            # ... never calls optimizer_step here, ...
            "--warmup-steps needs one optimizer": two and self.warmup_steps > 1,
            # ... ignores this, and here lets LBFGS go on from a gradient to which every
            # evaluation has been added: zero_grad is for a window's first batch only.
            "--gradient-clip-algorithm value needs --gradient-clip-val": (
                by_value and not clips
            ),
            "--accumulate-grad-batches: LBFGS needs all of its gradient at once; raise"
            " --batch-size instead": lbfgs and accumulates,
            "--decoder-learning-rate: LBFGS has one learning rate for all": (
                lbfgs and self.decoder_learning_rate is not None
            ),
        }
        for reason, applies in reasons.items():
            if applies:
                raise UsageError(reason)
