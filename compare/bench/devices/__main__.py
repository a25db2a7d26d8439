"""Train with one process and with several, and show what that changes.

    python -m compare.bench.devices

Four tables of the lesson `distributed`, with the numbers of runs that it makes:

- the same images a step, by one process and by two
- twice the images a step, with three learning rates
- a validation that several processes share, some of whose images count twice
- `sync_dist=True` forgotten: what each rank takes for the validation loss
"""

from collections.abc import Callable
from dataclasses import dataclass
from textwrap import fill
from typing import Literal

import torch

from compare.bench.devices import rates, samplers, sums, sync_dist
from compare.bench.measured import MeasureConfig, Results, begin, conditions, write
from compare.bench.processes import Lab
from shared.data import MNISTData
from shared.options.train import Count, Parser
from shared.runtime.command import one_line_errors
from shared.runtime.errors import UsageError
from shared.runtime.run_dir import new_run_dir
from shared.runtime.signals import exit_on_signals


@dataclass(frozen=True)
class DevicesConfig(MeasureConfig):
    """The options of `compare.bench.devices`."""

    dataset: Literal["auto", "mnist", "mnist-5k", "fashion-mnist"] = "mnist-5k"
    """Images to learn; auto is mnist where it can be had, otherwise mnist-5k."""
    max_epochs: Count = 10
    """How many times to go through the training images."""
    accelerator: Literal["auto", "cpu", "cuda"] = "cpu"
    """Where to compute; cuda needs three GPUs, one for each process; auto is cuda where
    there is a GPU."""
    batch_size: Count = 64
    """Images a step of one process; two share them, or have as many each."""
    seeds: Count = 3
    """How often to train with each learning rate, from --seed upwards."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch_size % 2:
            raise UsageError("--batch-size must be even: two processes share a batch")


def main() -> None:
    """Make the runs, print the tables, and write what was asked for."""
    config = Parser("python -m compare.bench.devices", DevicesConfig).parse_config()
    torch.set_num_threads(config.threads)
    data = MNISTData(config)
    data.prepare_data()
    data.setup("fit")
    options = ("threads", "batch_size", "hidden_dim", "latent_dim", "max_epochs")
    results = begin(
        config, data.dataset_name, *options, "learning_rate", "seed", "seeds"
    )
    lab = Lab(config, new_run_dir(config.output_dir / "compare" / "devices"))
    print(f"{fill(conditions(results), 88)}\nThe runs are in {lab.folder}", flush=True)
    parts: dict[str, tuple[Callable[[], Results], Callable[[Results], str]]] = {
        "sums": (lambda: sums.measure(lab), sums.show),
        "rates": (lambda: rates.measure(lab, config.seeds), rates.show),
        "samplers": (lambda: samplers.measure(lab, data), samplers.show),
        "sync_dist": (lambda: sync_dist.measure(lab), sync_dist.show),
    }
    for name, (measure, show) in parts.items():
        results[name] = measure()
        print(f"\n{show(results)}", flush=True)
        write(results, config)  # after each part, as Ctrl-C may come in the next


if __name__ == "__main__":
    exit_on_signals()
    with one_line_errors():
        main()
