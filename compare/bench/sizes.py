"""From which size of the model on both halves take the same time."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import quantiles
from typing import Any

import matplotlib
from matplotlib.figure import Figure

import lightning.train
import plain_pytorch.train
from compare.bench.halves import LIGHTNING, PLAIN, load, train
from compare.bench.report import in_unit, ratio, ratios, table, yes_or_no
from compare.bench.turns import FEWEST_STEPS, same_as_first, time_trainings
from shared.model import AutoEncoder
from shared.options.train import Config as TrainConfig

HIDDEN_DIMS = (64, 256, 1024, 3200, 6400)


def measure(config: TrainConfig, rounds: int) -> dict[str, Any]:
    """Return the seconds of a step in both halves, for models of several sizes."""
    assert config.limit_train_batches
    sizes = []
    for hidden_dim in HIDDEN_DIMS:
        model = AutoEncoder(hidden_dim, config.latent_dim)
        parameters = sum(parameter.numel() for parameter in model.parameters())
        # Large models take fewer steps, or a turn would last a minute.
        steps = min(config.limit_train_batches, 10**8 // parameters)
        sized = replace(
            config,
            hidden_dim=hidden_dim,
            limit_train_batches=max(steps, FEWEST_STEPS),
        )
        data = load(sized)
        trainings = {
            PLAIN: partial(train, plain_pytorch.train, sized, data),
            LIGHTNING: partial(train, lightning.train, sized, data),
        }
        seconds, weights = time_trainings(trainings, rounds, sized.use_cuda)
        same = LIGHTNING in same_as_first(weights)
        sizes.append({"parameters": parameters, "seconds": seconds, "same": same})
    return {"sizes": sizes}


def report(results: dict[str, Any], form: str) -> str:
    """Return a table with a row for each size."""
    rows = [
        [
            f"{size['parameters']:,}",
            *(in_unit(size["seconds"][half], "ms") for half in (PLAIN, LIGHTNING)),
            ratio(size["seconds"], LIGHTNING, PLAIN),
            yes_or_no(size["same"]),
        ]
        for size in results["sizes"]
    ]
    heads = ["parameters", f"{PLAIN}, ms", f"{LIGHTNING}, ms", "ratio", "bit-equal"]
    return (
        f"{table(heads, rows, form)}\n\n"
        "The aim is a ratio of at most 1.03 from 5 million parameters on."
    )


def description(results: dict[str, Any]) -> str:
    """Return what the plot shows, for those who cannot see it."""
    return "; ".join(
        f"{size['parameters']:,} parameters: the Lightning half takes"
        f" {ratio(size['seconds'], LIGHTNING, PLAIN)} times the plain half"
        for size in results["sizes"]
    )


def draw(results: dict[str, Any], path: Path) -> None:
    """Draw how many times the plain half the Lightning half takes, by size."""
    parameters = [size["parameters"] for size in results["sizes"]]
    times = [ratios(size["seconds"], LIGHTNING, PLAIN) for size in results["sizes"]]
    quartiles = [quantiles(one, n=4, method="inclusive") for one in times]
    lower, middle, upper = zip(*quartiles, strict=True)
    with matplotlib.rc_context({"svg.hashsalt": "speed", "svg.fonttype": "none"}):
        figure = Figure(figsize=(6.4, 3.2), layout="constrained")
        axes = figure.subplots()
        axes.plot(parameters, middle, "o-")
        axes.vlines(parameters, lower, upper)
        axes.axhline(1, color="gray", linewidth=1)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.set_xlabel("parameters of the model")
        axes.set_ylabel("times the plain half")
        axes.set_title("One step of the Lightning half")
        metadata = {"Date": None, "Description": description(results)}
        figure.savefig(path, format="svg", metadata=metadata)
