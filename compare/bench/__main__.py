"""Time one training step: the arithmetic alone, both halves, and a bare Trainer.

    python -m compare.bench --rounds 5

The ways take turns. Printed are processor times, medians with quartiles.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from compare.bench.ladder import ways
from compare.bench.report import conditions, table
from compare.bench.turns import WARM_UP, take_turns
from lightning.train import Data
from shared.options.checks import check_range
from shared.options.train import Config as TrainConfig
from shared.runtime.command import parse_config, set_up_torch, user_errors


@dataclass(frozen=True)
class BenchConfig(TrainConfig):
    """The options of a measurement, and of the trainings that are measured."""

    rounds: int = 5
    """Number of turns of each way."""
    json: Path | None = None
    """Write the measurements to this file."""
    max_epochs: int = 2
    """Epochs of a turn."""
    limit_train_batches: int | None = 220
    """Steps of an epoch; the first 20 are not counted."""
    limit_val_batches: int | None = 10
    """Validate on this many batches instead of all."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, ("rounds",), at_least=2)
        check_range(self, ("limit_train_batches",), at_least=WARM_UP + 2)


def main() -> None:
    """Measure, print the table, and write the measurements if that was asked for."""
    with user_errors():
        config = parse_config(BenchConfig, "python -m compare.bench", __doc__)
        set_up_torch(config)
        data = Data(config)
        data.prepare_data()
        data.setup("fit")
        said = conditions(data.dataset_name, config.threads, config.rounds)
        print(said, flush=True)
        seconds = take_turns(ways(config, data), config.rounds)
        print(table(seconds, "simple"))
        if config.json:
            results = {"conditions": said, "seconds": seconds}
            config.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
