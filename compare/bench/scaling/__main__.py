"""Time a step of one process and of two, in both halves.

    python -m compare.bench.scaling

Strong scaling: two processes share the batch of one. Weak scaling: each has a batch of
that size. The halves and the numbers of processes take turns, ROUNDS times each; a
step's time is that between two points of the train_loss curve. Then each is run once
more under torch.profiler, for what a step spends on messages. On GPUs, of which there
have to be two for two processes, it prints how busy the first one is, too.
"""

from dataclasses import dataclass, replace
from textwrap import fill

import torch

from compare.bench.measured import MeasureConfig, begin, conditions, write
from compare.bench.processes import Lab
from compare.bench.scaling.measure import choose_ways, measure
from compare.bench.scaling.render import make_table
from shared.data import MNISTData
from shared.options.train import Count, Parser
from shared.runtime.command import one_line_errors
from shared.runtime.errors import UsageError
from shared.runtime.run_dir import new_run_dir
from shared.runtime.signals import exit_on_signals


@dataclass(frozen=True)
class ScalingConfig(MeasureConfig):
    """The options of `compare.bench.scaling`."""

    batch_size: Count = 64
    """Images a step of one process; two share them, or have as many each."""
    max_epochs: Count = 1
    """How many times to go through the training images in each run."""
    limit_train_batches: Count | None = 300
    """Train on this many batches an epoch."""
    rounds: Count = 3
    """How often to run each half with each number of processes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch_size % 2:
            raise UsageError("--batch-size must be even: two processes share a batch")


def main() -> None:
    """Make the runs, print the table, and write what was asked for."""
    config = Parser("python -m compare.bench.scaling", ScalingConfig).parse_config()
    config = replace(config, limit_val_batches=1, limit_test_batches=1)
    torch.set_num_threads(config.threads)
    data = MNISTData(config)
    data.prepare_data()
    data.setup("fit")
    ways, steps = choose_ways(config, len(data.train_set))
    config = replace(config, limit_train_batches=steps)
    options = ("threads", "batch_size", "hidden_dim", "latent_dim", "max_epochs")
    results = begin(
        config, data.dataset_name, *options, "limit_train_batches", "rounds"
    )
    print(fill(conditions(results), 88), flush=True)
    lab = Lab(config, new_run_dir(config.output_dir / "compare" / "scaling"))
    results["ways"] = measure(lab, ways, config.rounds)
    print(f"\n{make_table(results)}")
    write(results, config)


if __name__ == "__main__":
    exit_on_signals()
    with one_line_errors():
        main()
