"""Measure the accuracy of the lesson transfer, for the table of its page.

    python -m compare.lessons.accuracy

trains the plain half with and without a trained encoder, frozen and unfrozen, with
three seeds, and writes compare/results/transfer.json. It takes some minutes.
"""

import json
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from tabulate import tabulate
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import plain_pytorch.train
import plain_pytorch.transfer
from compare.bench.report import conditions
from shared.options.train import Config as TrainConfig
from shared.options.transfer import Config as TransferConfig

RESULTS = Path(__file__).parents[1] / "results" / "transfer.json"
SEEDS = (1, 2, 42)
FEATURES = (3, 32)
EPOCHS = {"mnist": 3, "mnist-5k": 10}
"""Epochs of transfer, by data set; those of `train` are always 3."""
WAYS: dict[str, dict[str, Any]] = {
    "random, frozen": {"pretrained": False, "unfreeze_backbone_at_epoch": 99},
    "trained, frozen": {"pretrained": True, "unfreeze_backbone_at_epoch": 99},
    "random, unfrozen": {"pretrained": False, "unfreeze_backbone_at_epoch": 1},
    "trained, unfrozen": {"pretrained": True, "unfreeze_backbone_at_epoch": 1},
}


def accuracy(run_dir: Path) -> float:
    """Return the accuracy after the last epoch of a run, from 0 to 1."""
    events = EventAccumulator(str(run_dir)).Reload()
    return events.Scalars("val_accuracy")[-1].value


def measure(dataset: str, features: int, folder: Path) -> dict[str, list[float]]:
    """Train an encoder, then a classifier for each way and seed.

    Returns:
        The accuracies on the validation images, one per seed, by way.
    """
    common: dict[str, Any] = {
        "dataset": dataset,
        "latent_dim": features,
        "accelerator": "cpu",
    }
    encoder = folder / f"{dataset}-{features}"
    plain_pytorch.train.main(TrainConfig(**common), encoder)
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    for (way, options), seed in product(WAYS.items(), SEEDS):
        run_dir = folder / f"{dataset}-{features}-{way}-{seed}"
        config = TransferConfig(
            **common,
            **options,
            weights=encoder / "checkpoints" / "best.ckpt",
            max_epochs=EPOCHS[dataset],
            seed=seed,
        )
        plain_pytorch.transfer.main(config, run_dir)
        found[way].append(accuracy(run_dir))
    return found


def committed() -> str:
    """Return the committed results as a table, and their conditions."""
    results = json.loads(RESULTS.read_text())
    rows = [
        [
            row["dataset"],
            row["features"],
            *(f"{min(x):.0%} to {max(x):.0%}" for x in row["accuracy"].values()),
        ]
        for row in results["rows"]
    ]
    table = tabulate(rows, ["data", "features", *WAYS], "github", disable_numparse=True)
    return f"{table}\n\nMeasured on {results['conditions']}."


def main() -> None:
    """Measure, and write the results."""
    torch.set_num_threads(1)
    said = conditions("plain half", 1, len(SEEDS))
    with TemporaryDirectory() as folder:
        rows = [
            {
                "dataset": dataset,
                "features": features,
                "accuracy": measure(dataset, features, Path(folder)),
            }
            for dataset, features in product(EPOCHS, FEATURES)
        ]
    RESULTS.write_text(json.dumps({"conditions": said, "rows": rows}, indent=1) + "\n")
    print(committed())


if __name__ == "__main__":
    main()
