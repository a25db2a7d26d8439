"""The lesson debugging as people run it: dry runs, and what is refused."""

import sys
from collections.abc import Callable
from dataclasses import replace

import pytest

import compare.parity.command
from lightning.debugging import main as lightning_main
from plain_pytorch.debugging import main as plain_main
from shared.options.debugging import Config as DebuggingConfig
from shared.options.train import Config as TrainConfig
from shared.runtime.command import parse_config, run, to_arguments

Command = Callable[..., tuple[int, str, str]]


def parse(*arguments: str) -> DebuggingConfig:
    return parse_config(DebuggingConfig, "program", arguments=list(arguments))


@pytest.fixture
def run_here(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Command:
    """Return what runs a command in this process: its exit status and its output."""

    def run_here(main: Callable[[], None], *arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["debugging", *arguments])
        status = 0
        try:
            main()
        except SystemExit as end:
            status = int(str(end))
        return status, *capfd.readouterr()

    return run_here


@pytest.mark.parametrize("main", [plain_main, lightning_main])
def test_a_dry_run_leaves_nothing(
    small: TrainConfig, run_here: Command, main: Callable[..., None]
) -> None:
    arguments = [*to_arguments(small), "--fast-dev-run", "1"]
    status, stdout, stderr = run_here(lambda: run(main), *arguments)
    assert status == 0, stderr
    assert "The run is in" not in stdout
    assert not small.output_dir.exists()


@pytest.mark.parametrize("main", [plain_main, lightning_main])
def test_a_dry_run_that_fails_leaves_nothing(
    small: TrainConfig, run_here: Command, main: Callable[..., None]
) -> None:
    arguments = to_arguments(replace(small, learning_rate=1e30))
    status, _, stderr = run_here(lambda: run(main), *arguments, "--fast-dev-run=3")
    assert status == 1
    said = "error: loss nan at step 1, batch 1: lower --learning-rate\n"
    assert stderr.endswith(said)
    assert not small.output_dir.exists()


def test_a_share_below_one_batch_is_a_wrong_command_line(
    small: TrainConfig, run_here: Command
) -> None:
    arguments = [*to_arguments(small), "--limit-val-batches=0.1"]
    status, _, stderr = run_here(lambda: run(plain_main), *arguments)
    assert status == 2
    assert stderr.endswith("error: 0.1 of 8 batches is less than one batch\n")
    assert not [*small.output_dir.iterdir()]


def test_a_dry_run_cannot_be_compared(small: TrainConfig, run_here: Command) -> None:
    arguments = ["debugging", *to_arguments(small), "--fast-dev-run=1"]
    status, _, stderr = run_here(compare.parity.command.main, *arguments)
    assert status == 2
    assert "--fast-dev-run leaves no files" in stderr
    assert not small.output_dir.exists()


@pytest.mark.parametrize("given", ["1", "1.0", "0.05", "5e-2", "12"])
def test_a_number_and_a_share_stay_apart(given: str) -> None:
    config = parse("--limit-train-batches", given)
    limit = config.limit_train_batches
    assert limit == float(given)
    assert isinstance(limit, int) == given.isdecimal()
    assert parse(*to_arguments(config)) == config


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--overfit-batches", "1.5"], "--overfit-batches 1.5: must be a number"),
        (["--overfit-batches", "nan"], "--overfit-batches nan: must be a number"),
        (["--overfit-batches", "-1"], "--overfit-batches -1: must be a number"),
        (["--limit-train-batches", "0"], "--limit-train-batches 0: must be"),
        (["--limit-train-batches", "-1"], "--limit-train-batches -1: must be"),
        (["--limit-val-batches", "0.0"], "--limit-val-batches 0.0: must be"),
        (["--limit-val-batches", "2.0"], "--limit-val-batches 2.0: must be"),
        (["--limit-val-batches", "few"], "--limit-val-batches"),
        (["--fast-dev-run", "-1"], "--fast-dev-run -1: must be from 0"),
        (["--fast-dev-run", "x"], "--fast-dev-run INT"),
        (["--fast-dev-run=1", "--overfit-batches=1"], "--overfit-batches is a limit"),
        (["--limit-train-batches=1", "--overfit-batches=2"], "is a limit itself"),
    ],
)
def test_bad_values_are_refused(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse(*arguments)
    assert said in capsys.readouterr().err
