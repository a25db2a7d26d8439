"""The parity table, and the command that prints it."""

import os
import signal
import time
from dataclasses import replace

import pytest
import torch

from compare.parity.table import compare_results
from shared.options.train import TrainConfig
from tests.processes import finish, run, start


def test_both_halves_are_run_and_are_the_same(small: TrainConfig) -> None:
    status, stdout, _ = run("compare", "train", *small.to_arguments())
    assert status == 0
    _, table = stdout.split("largest difference\n")
    _, *rows, seconds, verdict = [line.split() for line in table.splitlines()]
    assert seconds[:2] == ["wall", "time,"]
    assert verdict == ["same"]
    names = {row[0] for row in rows}
    assert names > {
        "train_loss",
        "val_loss",
        "test_loss",
        "decoder.2.bias",
        "optimizer",
    }
    for _, plain, lightning, difference in rows:
        assert plain == lightning
        assert difference == "0"
    assert sorted(path.name for path in small.output_dir.rglob("best.ckpt")) == [
        "best.ckpt",
        "best.ckpt",
    ]


def test_a_half_that_fails_ends_it_with_its_status(small: TrainConfig) -> None:
    status, _, stderr = run(
        "compare", *replace(small, learning_rate=1e30).to_arguments()
    )
    assert status == 1
    assert "the training loss is nan at step 1" in stderr


@pytest.mark.parametrize("arguments", [["typo"], ["--batch-size", "0"]])
def test_usage_errors_are_one_line(arguments: list[str]) -> None:
    status, stdout, stderr = run("compare", *arguments)
    assert (status, stdout) == (2, "")
    assert stderr.startswith("error: ")
    assert stderr.count("\n") == 1


def test_ctrl_c_reaches_the_half_that_runs(small: TrainConfig) -> None:
    arguments = replace(small, max_epochs=100_000).to_arguments()
    process = start("compare", *arguments)
    while process.poll() is None and not list(small.output_dir.rglob("last.ckpt")):
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    status, _, stderr = finish(process)
    assert status == 130
    assert "saved so far: " in stderr


ONE = {"val_loss": torch.tensor([[9.0, 0.5]]), "bias": torch.tensor([1.0, 2.0])}


def test_equal_results_are_the_same() -> None:
    rows = compare_results(ONE, {name: ONE[name].clone() for name in ONE})
    assert [row.quantity for row in rows] == ["val_loss", "bias"]
    assert all(row.same for row in rows)


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        (
            torch.tensor([1.0, torch.tensor(2.0).nextafter(torch.tensor(3.0))]),
            "2.38e-07",
        ),
        (torch.tensor([1.0, 2.0, 3.0]), "sizes [2] and [3]"),
        (torch.tensor([1.0, torch.nan]), "nan"),
        (None, "missing in one"),
    ],
)
def test_the_last_bit_makes_a_difference(
    other: torch.Tensor | None, difference: str
) -> None:
    second = {"val_loss": ONE["val_loss"]}
    if other is not None:
        second["bias"] = other
    for pair in ((ONE, second), (second, ONE)):
        rows = {row.quantity: row for row in compare_results(*pair)}
        assert rows["val_loss"].same
        assert not rows["bias"].same
        assert rows["bias"].difference in (difference, "sizes [3] and [2]")
