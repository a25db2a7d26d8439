"""The parity table, and the command that prints it."""

import os
import signal
import sys
import time
from dataclasses import replace

import pytest
import torch

import lightning.train
import tests.compare_here
from compare.parity import command
from compare.parity.table import compare_results
from shared.options.train import Config as TrainConfig
from shared.runtime.command import to_arguments
from tests.processes import finish, run, start


def compare_here(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *options: str
) -> tuple[int | str | None, str, str]:
    """Run the command and both halves in this process.

    Returns its exit status, stdout and stderr.
    """
    monkeypatch.setattr(command, "subprocess", tests.compare_here.subprocess)
    monkeypatch.setattr(sys, "argv", ["compare", *options])
    with pytest.raises(SystemExit) as exit_:
        command.main()
    return exit_.value.code, *capsys.readouterr()


def rows_of(stdout: str) -> list[list[str]]:
    """Return the cells of the table that the command prints, without its verdict."""
    _, table = stdout.split("largest difference\n")
    _, *rows, _verdict = [line.split() for line in table.splitlines()]
    assert rows.pop()[:2] == ["wall", "time,"]
    return rows


def test_equal_halves_are_the_same(
    small: TrainConfig,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = ["train", *to_arguments(small)]
    status, stdout, _ = compare_here(monkeypatch, capsys, *options)
    assert status == 0
    assert stdout.endswith("\nsame\n")
    names = {row[0] for row in rows_of(stdout)}
    assert names > {"train_loss", "val_loss", "decoder.2.bias", "optimizer"}
    for _, by_hand, in_lightning, difference in rows_of(stdout):
        assert by_hand == in_lightning
        assert difference == "0"
    run_dir = small.output_dir / "train" / "version_0"
    assert f"The runs are in {run_dir}" in stdout
    assert sorted(path.name for path in run_dir.iterdir()) == [
        "lightning",
        "plain_pytorch",
    ]


def test_other_halves_are_different(
    small: TrainConfig,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(
        lightning.train.Model,
        "configure_optimizers",
        lambda model: torch.optim.Adam(model.parameters(), lr=2e-3),
    )
    config = replace(small, max_epochs=1)
    status, stdout, _ = compare_here(monkeypatch, capsys, *to_arguments(config))
    assert status == 1
    assert stdout.endswith("\ndifferent\n")
    assert "0" not in [row[-1] for row in rows_of(stdout)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["typo"], "no lesson typo: try one of "),
        (["--batch-size", "0"], "--batch-size 0: must be from 1 to"),
        (["train", "--epochs", "0"], "--epochs"),
    ],
)
def test_usage_errors_end_with_status_2(
    arguments: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    status, stdout, stderr = compare_here(monkeypatch, capsys, *arguments)
    assert (status, stdout) == (2, "")
    assert said in stderr


@pytest.mark.slow
def test_the_command_runs_both_halves(small: TrainConfig) -> None:
    status, stdout, _ = run("compare", "train", *to_arguments(small))
    assert status == 0
    assert stdout.endswith("\nsame\n")
    assert len(list(small.output_dir.rglob("best.ckpt"))) == 2


@pytest.mark.slow
def test_a_half_that_fails_ends_it_with_its_status(small: TrainConfig) -> None:
    small.data_dir.write_text("no folder")
    arguments = to_arguments(replace(small, dataset="mnist"))
    status, stdout, stderr = run("compare", *arguments, https_proxy="127.0.0.1:9")
    assert status == 1
    assert "--- lightning" not in stdout
    assert stderr.count("error: ") == 1


@pytest.mark.slow
def test_ctrl_c_reaches_the_half_that_runs(small: TrainConfig) -> None:
    arguments = to_arguments(replace(small, max_epochs=100_000))
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
        (torch.tensor([1.0, 2.0]).double(), "float32 and float64"),
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
        swapped = "sizes [3] and [2]", "float64 and float32"
        assert rows["bias"].difference in (difference, *swapped)
