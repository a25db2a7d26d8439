"""The lesson checkpoint as people run it: stopped by a signal, resumed, refused."""

import os
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from compare.parity.results import read_results
from shared.checkpoints.resume import LAST
from shared.checkpoints.whole_files import read_checkpoint
from shared.options.checkpoint import CheckpointConfig
from shared.options.train import TrainConfig
from tests.parity.halves import run_half
from tests.processes import finish, run_forked, start


@pytest.fixture
def config(small: TrainConfig) -> CheckpointConfig:
    return CheckpointConfig(**vars(small) | {"limit_train_batches": None})


def start_and_wait(
    half: str, config: CheckpointConfig, **environment: str
) -> tuple[subprocess.Popen[str], Path]:
    """Start a run and return it, and its last checkpoint, once that is there."""
    process = start(f"{half}.checkpoint", *config.to_arguments(), **environment)
    last = config.output_dir / half / "checkpoint" / "version_0" / LAST
    while not last.exists() and process.poll() is None:
        time.sleep(0.01)
    return process, last


@pytest.mark.parametrize(
    ("half", "sent", "status"),
    [
        ("lightning", signal.SIGINT, 130),
        pytest.param("plain_pytorch", signal.SIGTERM, 143, marks=pytest.mark.slow),
        pytest.param("plain_pytorch", signal.SIGINT, 130, marks=pytest.mark.slow),
        pytest.param("lightning", signal.SIGTERM, 143, marks=pytest.mark.slow),
    ],
)
def test_a_signal_waits_for_the_step_and_loses_nothing(
    config: CheckpointConfig, half: str, sent: signal.Signals, status: int
) -> None:
    long = replace(config, max_epochs=100_000)
    # A TMPDIR on another file system is where some ways to save a file lose it.
    process, last = start_and_wait(half, long, TMPDIR="/dev/shm")
    time.sleep(0.2)
    os.killpg(process.pid, sent)
    ended, _, stderr = finish(process)
    assert ended == status
    assert "ending after this step" in stderr
    assert "saved so far: " in stderr
    step = read_checkpoint(last)["global_step"]
    assert step > 0
    epochs = step // 63 + 2
    arguments = replace(config, max_epochs=epochs, ckpt_path="last").to_arguments()
    resumed, stdout, stderr = run_forked(
        f"{half}.checkpoint", *arguments, PL_GLOBAL_SEED="7"
    )
    assert resumed == 0, stderr
    assert f"resuming from {last}, step {step}" in stderr
    assert "the encoder alone" in stdout
    assert not list(last.parents[2].glob("version_1"))
    whole = replace(config, max_epochs=epochs)
    expected = run_half(half, "checkpoint", whole, config.output_dir / "whole").results
    results = read_results(last.parents[1])
    assert expected.keys() == results.keys()
    for name, values in expected.items():
        assert torch.equal(values, results[name]), name


def test_last_without_a_run_trains_from_the_start(config: CheckpointConfig) -> None:
    config = replace(config, max_epochs=1, limit_train_batches=2, ckpt_path="last")
    status, _, stderr = run_forked("plain_pytorch.checkpoint", *config.to_arguments())
    assert status == 0
    assert "training from the start" in stderr


@pytest.mark.parametrize("half", ["plain_pytorch", "lightning"])
def test_a_damaged_checkpoint_gets_one_line(
    config: CheckpointConfig, half: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.ckpt"
    path.write_bytes(b"PK\x03\x04 and no more")
    config = replace(config, ckpt_path=str(path))
    status, _, stderr = run_forked(f"{half}.checkpoint", *config.to_arguments())
    assert status == 1
    assert f"error: {path} is truncated or damaged: take another" in stderr
    assert not list(config.output_dir.rglob("version_*"))


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--save-top-k", "-2"], "--save-top-k"),
        (["--every-n-train-steps", "0"], "--every-n-train-steps"),
        (["--ckpt-path="], "--ckpt-path is empty"),
        (["--ckpt-path=last", "--no-checkpointing"], "goes on in its files"),
        (["--no-checkpointing", "--every-n-train-steps", "5"], "has no use with"),
    ],
)
def test_bad_values_are_refused(arguments: list[str], line: str) -> None:
    status, _, stderr = run_forked("plain_pytorch.checkpoint", *arguments)
    assert status == 2
    assert line in stderr
    assert len(stderr.splitlines()) == 1
