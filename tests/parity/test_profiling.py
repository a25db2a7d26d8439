"""The lesson profiling: both halves say where the time goes, and change no number."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from plain_pytorch.profiling import Stopwatch
from shared.options.profiling import Config as ProfilingConfig
from shared.options.train import Config as TrainConfig
from shared.runtime.command import parse_config
from tests.parity.halves import Ran, assert_same, run_half

PARTS = ["next batch", "training_step", "backward", "step", "logging"]
PARTS += ["validation", "checkpoints"]


@pytest.fixture
def config(small: TrainConfig) -> ProfilingConfig:
    return ProfilingConfig(**vars(small))


def run(half: str, config: ProfilingConfig) -> Ran:
    return run_half(half, "profiling", config, config.output_dir / half)


def count_events(path: Path) -> Counter[str]:
    """Return how often each name is in a Chrome trace."""
    return Counter(
        event["name"] for event in json.loads(path.read_text())["traceEvents"]
    )


@pytest.mark.usefixtures("dropout")
def test_the_simple_profiler_says_where_the_time_goes(
    config: ProfilingConfig,
    small: TrainConfig,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    train = run_half("plain_pytorch", "train", small, small.output_dir / "train")
    capsys.readouterr()
    assert_same(train, run("plain_pytorch", config))
    table = capsys.readouterr().out.splitlines()[-len(PARTS) :]
    assert [line[:15].strip() for line in table] == PARTS
    assert all(float(line[15:].removesuffix(" s")) >= 0 for line in table)
    with caplog.at_level("INFO", "pytorch_lightning"):
        assert_same(train, run("lightning", config))
    assert "FIT Profiler Report" in caplog.text
    assert "[Strategy]SingleDeviceStrategy.training_step" in caplog.text


@pytest.mark.usefixtures("dropout")
def test_the_pytorch_profiler_writes_three_steps(
    config: ProfilingConfig, small: TrainConfig
) -> None:
    config = replace(config, profiler="pytorch", max_epochs=1)
    small = replace(small, max_epochs=1)
    train = run_half("plain_pytorch", "train", small, small.output_dir / "train")
    assert_same(train, run("plain_pytorch", config))
    (path,) = (config.output_dir / "plain_pytorch").glob("*.pt.trace.json")
    events = count_events(path)
    assert sum(name.startswith("ProfilerStep#") for name in events) == 3
    assert events["aten::mse_loss"] == events["Optimizer.step#Adam.step"] == 3
    assert_same(train, run("lightning", config))
    (path,) = (config.output_dir / "lightning").glob("*training_step*.pt.trace.json")
    events = count_events(path)
    # Its steps end inside those of the optimizer.
    assert events["[pl][profile][Strategy]SingleDeviceStrategy.training_step"] >= 3
    assert events["aten::mse_loss"] >= 3


def test_a_run_too_short_for_a_trace_is_trained_all_the_same(
    config: ProfilingConfig,
) -> None:
    config = replace(config, max_epochs=1, limit_train_batches=1, profiler="pytorch")
    assert len(run("plain_pytorch", config).trace.steps) == 1
    assert not [*(config.output_dir / "plain_pytorch").glob("*.json")]


@pytest.mark.usefixtures("dropout")
def test_a_profiler_that_draws_random_numbers_is_noticed(
    config: ProfilingConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(config, max_epochs=1)
    lightning = run("lightning", config)
    monkeypatch.setattr(Stopwatch, "lap", lambda stopwatch, part: torch.rand(1))
    with pytest.raises(AssertionError, match="at step 0"):
        assert_same(run("plain_pytorch", config), lightning)


def test_the_stopwatch_adds_up(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([10.0, 11.0, 13.0, 17.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(times))
    stopwatch = Stopwatch()
    for part in ("step", "validation", "step"):
        stopwatch.lap(part)
    assert stopwatch.seconds == {"step": 1 + 4, "validation": 2}


def test_another_profiler_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse_config(ProfilingConfig, "program", arguments=["--profiler=advanced"])
    assert "('simple', 'pytorch')" in capsys.readouterr().err
