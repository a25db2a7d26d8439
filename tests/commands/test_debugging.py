"""The lesson debugging as people run it: dry runs, traces, and what is refused."""

import sys
from collections.abc import Callable
from dataclasses import replace

import pytest

import shared.runtime.command
from lightning.debugging import main as lightning_main
from plain_pytorch.debugging import main as plain_main
from shared.options.debugging import DebuggingConfig
from shared.options.train import Parser, TrainConfig
from shared.runtime.errors import UsageError
from tests.processes import run_forked

MAINS = {"plain_pytorch": plain_main, "lightning": lightning_main}


def parse(*arguments: str) -> DebuggingConfig:
    return Parser("program", DebuggingConfig).parse_config(list(arguments))


@pytest.fixture
def run_here(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Return `run` without the seconds of a process's imports."""

    def run_here(half: str, *arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["debugging", *arguments])
        status = 0
        try:
            shared.runtime.command.run(half, "debugging", MAINS[half])
        except SystemExit as end:
            status = int(str(end))
        return status, *capsys.readouterr()

    return run_here


@pytest.mark.parametrize("half", ["plain_pytorch", "lightning"])
def test_a_dry_run_leaves_nothing(small: TrainConfig, half: str) -> None:
    arguments = [*small.to_arguments(), "--fast-dev-run"]
    status, stdout, stderr = run_forked(f"{half}.debugging", *arguments)
    assert status == 0, stderr
    assert "test loss" in stdout
    assert "checkpoints" not in stdout
    assert "site-packages" not in stderr
    assert not small.output_dir.exists()


@pytest.mark.parametrize("half", ["plain_pytorch", "lightning"])
def test_a_failed_dry_run_leaves_nothing(
    small: TrainConfig, half: str, run_here: Callable[..., tuple[int, str, str]]
) -> None:
    arguments = replace(small, learning_rate=1e30).to_arguments()
    status, _, stderr = run_here(half, *arguments, "--fast-dev-run", "3")
    assert status == 1
    assert stderr.endswith(
        "error: the training loss is nan at step 1, batch 1: lower --learning-rate\n"
    )
    assert not small.output_dir.exists()


@pytest.mark.parametrize("half", ["plain_pytorch", "lightning"])
def test_a_share_of_less_than_a_batch_is_refused_at_once(
    small: TrainConfig, half: str, run_here: Callable[..., tuple[int, str, str]]
) -> None:
    arguments = [*small.to_arguments(), "--limit-test-batches=0.1"]
    status, _, stderr = run_here(half, *arguments)
    assert (status, stderr) == (
        2,
        "error: --limit-test-batches: 0.1 of 8 batches is less than one\n",
    )
    assert not list(small.output_dir.rglob("version_*"))


def test_a_dry_run_cannot_be_compared(small: TrainConfig) -> None:
    arguments = ["debugging", *small.to_arguments(), "--fast-dev-run"]
    status, _, stderr = run_forked("compare", *arguments)
    assert status == 2
    assert "--fast-dev-run leaves no files" in stderr


def test_the_simple_profile_is_a_table(
    small: TrainConfig, run_here: Callable[..., tuple[int, str, str]]
) -> None:
    arguments = [*small.to_arguments(), "--profiler=simple"]
    status, stdout, stderr = run_here("plain_pytorch", *arguments)
    assert status == 0, stderr
    calls = {line.split()[0]: line.split()[1] for line in stdout.splitlines()[-5:]}
    assert calls == {
        "training_step": "24",
        "backward": "24",
        "optimizer_step": "24",
        "validation_step": "6",
        "test_step": "3",
    }


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        ([], None),
        (["--fast-dev-run"], 1),
        (["--fast-dev-run", "3"], 3),
        (["--fast-dev-run=7", "--profiler=simple"], 7),
    ],
)
def test_the_number_of_a_dry_run_can_be_left_out(
    arguments: list[str], given: int | None
) -> None:
    assert parse(*arguments).fast_dev_run == given


@pytest.mark.parametrize("given", ["1", "1.0", "0.05", "5e-2", "12"])
def test_a_number_and_a_share_stay_apart(given: str) -> None:
    config = parse("--limit-train-batches", given)
    limit = config.limit_train_batches
    assert limit == float(given)
    assert isinstance(limit, int) == given.isdecimal()
    assert parse(*config.to_arguments()) == config


def test_the_help_of_a_limit_is_the_lesson_s(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit, match="0"):
        parse("--help")
    assert "or this share: 0.1" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--overfit-batches", "1.5"], "--overfit-batches: 1.5 is neither a number"),
        (["--overfit-batches", "2.0"], "--overfit-batches: 2.0 is neither"),
        (["--overfit-batches", "0"], "--overfit-batches: 0 is neither"),
        (["--limit-train-batches", "-1"], "--limit-train-batches: -1 is neither"),
        (["--limit-val-batches", "0.0"], "--limit-val-batches: 0.0 is neither"),
        (["--limit-test-batches", "nan"], "--limit-test-batches: cannot be nan"),
        (["--limit-test-batches", "few"], "--limit-test-batches: cannot be few"),
        (["--fast-dev-run", "0"], "--fast-dev-run: .*v>0"),
        (["--fast-dev-run", "x"], "--fast-dev-run: .*'x'"),
        (["--profiler", "advanced"], "--profiler: .*advanced"),
        (["--fast-dev-run", "--overfit-batches=1"], "has no use with"),
        (["--fast-dev-run", "--profiler=pytorch"], "--fast-dev-run leaves no files"),
    ],
)
def test_bad_values_are_refused_in_one_line(arguments: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said) as error:
        parse(*arguments)
    assert "\n" not in str(error.value)
    assert error.value.exit_status == 2
