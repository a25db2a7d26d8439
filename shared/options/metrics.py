"""The options of the lesson `metrics`."""

from dataclasses import dataclass

from shared.options.train import LOG_EVERY_N_STEPS, Count, TrainConfig


@dataclass(frozen=True)
class MetricsConfig(TrainConfig):
    """A training that logs all that TensorBoard can show."""

    log_every_n_steps: Count = LOG_EVERY_N_STEPS
    """Steps from one point of the curves of single steps to the next."""
