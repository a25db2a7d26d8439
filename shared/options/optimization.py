"""The options of the lesson `optimization`."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from shared.config import Count, LearningRate, TrainConfig
from shared.errors import UsageError

if TYPE_CHECKING:
    PositiveFloat = float
else:
    from jsonargparse.typing import PositiveFloat


@dataclass(frozen=True)
class OptimizationConfig(TrainConfig):
    """The options of a training whose step can be changed."""

    optimizer: Literal["adam", "lbfgs", "two"] = "adam"
    """One Adam; LBFGS; or two Adams that take turns, the encoder's and the decoder's."""
    decoder_learning_rate: LearningRate | None = None
    """Learning rate of the decoder, where it is not that of the encoder."""
    warmup_steps: Count = 1
    """Steps in which the learning rate rises from 0, the last one at full rate."""
    accumulate_grad_batches: Count = 1
    """Batches whose gradients are added up before each step."""
    gradient_clip_val: PositiveFloat | None = None
    """Largest gradient, whose larger ones are scaled down or cut to; None is no limit."""
    gradient_clip_algorithm: Literal["norm", "value"] = "norm"
    """What to limit: the norm of all gradients together, or the value of each."""

    def __post_init__(self) -> None:
        super().__post_init__()
        two, lbfgs = self.optimizer == "two", self.optimizer == "lbfgs"
        # Lightning refuses the first two. It takes the others without a word, and then
        # ignores the option or, with LBFGS, adds up the gradients of evaluations.
        for makes_no_sense, reason in [
            (
                two and self.accumulate_grad_batches > 1,
                "--accumulate-grad-batches needs one optimizer, not --optimizer two",
            ),
            (
                two and self.gradient_clip_val is not None,
                "--gradient-clip-val needs one optimizer, not --optimizer two",
            ),
            (
                two and self.warmup_steps > 1,
                "--warmup-steps needs one optimizer, not --optimizer two",
            ),
            (
                lbfgs and self.accumulate_grad_batches > 1,
                "--accumulate-grad-batches: --optimizer lbfgs learns from one batch a"
                " step; raise --batch-size",
            ),
            (
                lbfgs and self.decoder_learning_rate is not None,
                "--decoder-learning-rate: --optimizer lbfgs has one learning rate",
            ),
            (
                self.gradient_clip_algorithm == "value"
                and self.gradient_clip_val is None,
                "--gradient-clip-algorithm value needs --gradient-clip-val",
            ),
        ]:
            if makes_no_sense:
                raise UsageError(reason)
