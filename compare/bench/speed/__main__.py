"""Time both halves, and the arithmetic that they cannot do without.

    python -m compare.bench.speed --parts ladder startup

- ladder: one step, from the arithmetic alone to the Lightning half as it is
- sizes: the same for 50 thousand to 50 million parameters and 16 to 4096 images
- startup: fresh processes, their imports, first step and memory
- input: whole batches and ToTensor on each image, with 0, 1 and 2 workers
- profile: where a step's time goes, and what options of the Trainer give back
"""

import os
import sys
from dataclasses import replace

import torch

from compare.bench.measured import begin, write
from compare.bench.speed import ladder, loading, profile, sizes, startup
from compare.bench.speed.options import PARTS, WARM_UP, SpeedConfig
from compare.bench.speed.plot import draw
from compare.bench.speed.render import render_machine
from compare.bench.speed.tables import RENDER
from compare.bench.speed.ways import LoadedData
from shared.options.train import Parser
from shared.runtime.command import one_line_errors
from shared.runtime.errors import UserError
from shared.runtime.signals import exit_on_signals

MEASURE = {
    "ladder": ladder.measure,
    "sizes": sizes.measure,
    "startup": startup.measure,
    "input": loading.measure,
    "profile": profile.measure,
}


def load(config: SpeedConfig) -> LoadedData:
    """Return the data; the limit of its configuration is how many steps there are.

    Raises:
        UserError: an epoch has too few of them.
    """
    data = LoadedData(config)
    data.prepare_data()
    data.setup("fit")
    batches = len(data.train_dataloader())
    if batches < WARM_UP + 2:
        raise UserError(
            f"an epoch has {batches} step(s) and needs {WARM_UP + 2}:"
            " lower --batch-size"
        )
    limit = config.limit_train_batches or batches
    return data.changed(limit_train_batches=min(batches, limit))


def main() -> None:
    """Measure, print a table after each part, and write what was asked for."""
    config = Parser("python -m compare.bench.speed", SpeedConfig).parse_config()
    config = replace(config, accelerator="cuda" if config.use_cuda else "cpu")
    if config.plot:
        config.plot.parent.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(config.threads)
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    torch.use_deterministic_algorithms(config.use_cuda)  # in all ways, as in the halves
    data = load(config)
    asked = [part for part in PARTS if part in config.parts]
    options = ("threads", "batch_size", "hidden_dim", "latent_dim", "rounds")
    results = begin(config, data.dataset_name, *options)
    print(render_machine(results))
    for part in asked:
        print(f"\nmeasuring {part} ...", file=sys.stderr, flush=True)
        results[part] = MEASURE[part](data, config.rounds)
        print(f"\n{RENDER[part](results)}", flush=True)
        write(results, config)  # after each part, as Ctrl-C may come in the next
    if config.plot:
        draw(results, config.plot)


if __name__ == "__main__":
    exit_on_signals()
    with one_line_errors():
        main()
