"""Time one training step in many ways, which take turns.

    python -m compare.bench --parts ladder peers

prints medians with quartiles of processor time on one thread, and writes all numbers
to compare/results. The whole bench takes less than 10 minutes on two cores.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import tyro

from compare.bench import peers, sizes
from compare.bench.halves import load
from compare.bench.parts import PARTS, RESULTS, show
from compare.bench.report import conditions
from compare.bench.turns import FEWEST_STEPS
from shared.options.checks import check_range
from shared.options.train import Config as TrainConfig
from shared.runtime.command import set_up_torch, user_errors

Part = Literal["ladder", "peers", "sizes", "switches", "loading", "startup"]


@dataclass(frozen=True)
class Options:
    """The options of a measurement.

    Raises:
        UsageError: a number is too small.
    """

    parts: tuple[Part, ...] = get_args(Part)
    """The parts to measure."""
    rounds: int = 7
    """Number of turns of each way."""
    steps: int = 140
    """Steps of a turn, at most an epoch; the first 20 are not counted."""
    dataset: Literal["auto", "mnist", "mnist-5k", "fashion-mnist"] = "auto"
    """Images to train on."""
    accelerator: Literal["cpu", "cuda"] = "cpu"
    """Device of the trainings; on a GPU, the clock counts instead of processor time.
    The parts loading and startup use the CPU all the same."""
    results: Path = RESULTS
    """Folder for the numbers of each part, as JSON, and for the plot of the sizes."""

    def __post_init__(self) -> None:
        check_range(self, ("rounds",), at_least=2)
        check_range(self, ("steps",), at_least=FEWEST_STEPS)


def measure(options: Options) -> None:
    """Measure each part, print its tables, and write its numbers."""
    config = TrainConfig(
        dataset=options.dataset,
        accelerator=options.accelerator,
        max_epochs=1,
        limit_train_batches=options.steps,
        limit_val_batches=1,
    )
    set_up_torch(config)
    dataset: Any = load(config).dataset_name
    config = replace(config, dataset=dataset)
    options.results.mkdir(parents=True, exist_ok=True)
    for part in options.parts:
        packages = peers.PACKAGES if part == "peers" else ()
        said = conditions(
            dataset, config.threads, options.rounds, packages, config.use_cuda
        )
        numbers = PARTS[part].measure(config, options.rounds)
        results = {"conditions": said, **numbers}
        text = json.dumps(results, indent=1) + "\n"
        (options.results / f"{part}.json").write_text(text)
        if part == "sizes":
            sizes.draw(results, options.results / "sizes.svg")
        print(f"{part}\n\n{show(part, results, 'simple')}\n", flush=True)


def main() -> None:
    """Measure what the command line says."""
    with user_errors():
        measure(tyro.cli(Options, prog="python -m compare.bench", description=__doc__))


if __name__ == "__main__":
    main()
