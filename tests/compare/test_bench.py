"""The ladder measures what it says, and its table can be read."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from compare.bench.__main__ import BenchConfig
from compare.bench.ladder import ways
from compare.bench.turns import Clock, as_table, ratios, show, take_turns
from lightning.train import Data
from plain_pytorch.train import Model
from shared.options.train import Config as TrainConfig
from shared.runtime.errors import UsageError
from tests.processes import run_forked


class Timed(Clock, Model):
    """A model with a clock."""


def test_the_clock_counts_the_steps_after_the_warm_up() -> None:
    model = Timed(4, 2, 1e-3)
    batch = torch.rand(2, 1, 28, 28), torch.zeros(2)
    for batch_idx in [0, 1, 2, 3, 0, 1, 2]:
        assert model.training_step(batch, batch_idx).isfinite()
    assert [len(epoch) for epoch in model.starts] == [4, 3]
    model.starts = [[0.0, 7.0, 9.0, 12.0], [20.0, 21.0, 24.0]]
    assert model.seconds(warm_up=1) == (5 + 3) / (2 + 1)


def test_the_ways_take_turns() -> None:
    calls: list[str] = []

    def way(name: str, seconds: float) -> float:
        calls.append(name)
        return seconds

    samples = take_turns({"a": lambda: way("a", 2.0), "b": lambda: way("b", 3.0)}, 2)
    assert calls == ["a", "b", "a", "b"]
    assert samples == {"a": [2.0, 2.0], "b": [3.0, 3.0]}
    assert ratios(samples, "b", "a") == [1.5, 1.5]


def test_median_and_quartiles_are_shown() -> None:
    assert show([4.0, 1.0, 3.0, 2.0, 5.0], ".1f") == "3.0 (2.0 to 4.0)"
    rows = as_table({"a": [1e-6, 3e-6], "b": [2e-6, 6e-6]}, "a", 1e-6)
    assert rows[1] == ["b", "4 (3 to 5)", "2.00 (2.00 to 2.00)"]


def test_every_rung_trains_the_same_steps(small: TrainConfig) -> None:
    config = replace(small, limit_train_batches=23, max_epochs=1)
    data = Data(config)
    data.setup("fit")
    rungs = ways(config, data)
    assert len(rungs) == 5
    assert all(rung() > 0 for rung in rungs.values())


def test_the_command_writes_what_it_prints(tmp_path: Path) -> None:
    path = tmp_path / "ladder.json"
    options = ("--rounds", "2", "--dataset", "mnist-5k", "--max-epochs", "1")
    status, stdout, _ = run_forked(
        "compare.bench", *options, "--limit-train-batches", "22", "--json", str(path)
    )
    assert status == 0
    assert "Lightning half" in stdout
    assert "Lightning half" in path.read_text()


@pytest.mark.parametrize(
    ("option", "least"), [("rounds", 2), ("limit_train_batches", 22)]
)
def test_too_little_to_measure_is_refused(option: str, least: int) -> None:
    too_few: dict[str, Any] = {option: least - 1}
    with pytest.raises(UsageError, match=f"must be from {least}"):
        BenchConfig(**too_few)
