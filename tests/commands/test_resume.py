"""The lessons resume and checkpoint as people run them: stopped, resumed, refused."""

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
from shared.options.resume import Config as ResumeConfig
from shared.options.train import Config as TrainConfig
from shared.runtime.command import to_arguments
from shared.runtime.errors import UsageError
from tests.parity.halves import run_half
from tests.processes import finish, run_forked, start


@pytest.fixture
def config(small: TrainConfig) -> ResumeConfig:
    return ResumeConfig(**vars(small) | {"limit_train_batches": None})


def start_and_wait(
    half: str, config: ResumeConfig, **environment: str
) -> tuple[subprocess.Popen[str], Path]:
    """Start a run and return it, and its last checkpoint, once that is there."""
    process = start(f"{half}.resume", *to_arguments(config), **environment)
    last = config.output_dir / "resume" / half / "version_0" / LAST
    while not last.exists() and process.poll() is None:
        time.sleep(0.01)
    return process, last


@pytest.mark.slow
@pytest.mark.parametrize(
    ("half", "sent", "status"),
    [
        ("plain_pytorch", signal.SIGINT, 130),
        ("plain_pytorch", signal.SIGTERM, 143),
        ("lightning", signal.SIGINT, 130),
        ("lightning", signal.SIGTERM, 143),
    ],
)
def test_a_signal_waits_for_the_step_and_loses_nothing(
    config: ResumeConfig, half: str, sent: signal.Signals, status: int
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
    more = replace(config, max_epochs=epochs, ckpt_path="last")
    resumed, _, stderr = run_forked(
        f"{half}.resume", *to_arguments(more), PL_GLOBAL_SEED="7"
    )
    assert resumed == 0, stderr
    assert f"resuming from {last}, step {step}" in stderr
    assert not list(last.parents[2].glob("version_1"))
    whole = replace(config, max_epochs=epochs)
    expected = run_half(half, "resume", whole, config.output_dir / "whole").results
    results = read_results(last.parents[1])
    assert expected.keys() == results.keys()
    for name, values in expected.items():
        assert torch.equal(values, results[name]), name


def test_last_without_a_run_trains_from_the_start(config: ResumeConfig) -> None:
    config = replace(config, max_epochs=1, limit_train_batches=2, ckpt_path="last")
    status, _, stderr = run_forked("plain_pytorch.resume", *to_arguments(config))
    assert status == 0
    assert "training from the start" in stderr


@pytest.mark.parametrize(
    ("half", "lesson"),
    [
        ("plain_pytorch", "resume"),
        ("lightning", "checkpoint"),
    ],
)
def test_a_damaged_checkpoint_gets_one_line(
    config: ResumeConfig, half: str, lesson: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.ckpt"
    path.write_bytes(b"PK\x03\x04 and no more")
    arguments = [f"--output-dir={config.output_dir}", f"--ckpt-path={path}"]
    status, _, stderr = run_forked(f"{half}.{lesson}", *arguments)
    assert status == 1
    assert f"error: {path} is truncated or damaged: take another" in stderr
    assert not list(config.output_dir.rglob("version_*"))


@pytest.mark.slow
@pytest.mark.parametrize("half", ["plain_pytorch", "lightning"])
def test_of_two_processes_the_second_is_told(config: ResumeConfig, half: str) -> None:
    first, last = start_and_wait(half, replace(config, max_epochs=100_000))
    before = {path.name for path in last.parents[1].iterdir()}
    second = to_arguments(replace(config, ckpt_path="last"))
    status, _, stderr = run_forked(f"{half}.resume", *second)
    assert status == 1
    assert f"another process trains in {last.parents[1]}" in stderr
    assert {path.name for path in last.parents[1].iterdir()} == before
    os.killpg(first.pid, signal.SIGTERM)
    assert finish(first)[0] == 143


@pytest.mark.parametrize(
    ("lesson", "arguments", "line"),
    [
        ("resume", ["--save-top-k=-2"], "--save-top-k"),
        ("resume", ["--every-n-train-steps=0"], "--every-n-train-steps"),
        ("resume", ["--ckpt-path="], "--ckpt-path is empty"),
        ("checkpoint", ["--save-top-k=-2"], "--save-top-k"),
    ],
)
def test_wrong_options_are_refused(
    lesson: str, arguments: list[str], line: str
) -> None:
    status, _, stderr = run_forked(f"plain_pytorch.{lesson}", *arguments)
    assert status == 2
    assert line in stderr


def test_a_run_that_goes_on_needs_no_folder(
    config: ResumeConfig, tmp_path: Path
) -> None:
    last = tmp_path / "version_0" / LAST
    last.parent.mkdir(parents=True)
    last.touch()
    config = replace(config, ckpt_path=str(last), run_dir=tmp_path / "new")
    with pytest.raises(UsageError, match="--run-dir"):
        config.make_run_dir(tmp_path)
    with pytest.raises(UsageError, match="--ckpt-path"):
        config.for_comparison()
    assert replace(config, run_dir=None).make_run_dir(tmp_path) == last.parents[1]
