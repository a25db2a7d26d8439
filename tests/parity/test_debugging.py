"""The lesson debugging: each option changes both halves alike, to the last bit."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from compare.divergence.difference import compare_runs
from compare.trace.command import trace
from compare.trace.run import Run
from lightning.debugging import LitReconstructor
from lightning.debugging import main as lightning_main
from plain_pytorch.debugging import PlainReconstructor
from plain_pytorch.debugging import main as plain_main
from shared.data import MNISTData
from shared.options.debugging import DebuggingConfig
from shared.options.train import TrainConfig
from shared.runtime.errors import UserError
from tests.parity.halves import Ran, assert_same, run_half

HALVES = ["plain_pytorch", "lightning"]
MAINS = {"plain_pytorch": plain_main, "lightning": lightning_main}


@pytest.fixture
def config(small: TrainConfig) -> DebuggingConfig:
    return DebuggingConfig(**vars(small))


def run_both(config: DebuggingConfig) -> tuple[Ran, Ran]:
    plain, lightning = (
        run_half(half, "debugging", config, config.output_dir / half) for half in HALVES
    )
    return plain, lightning


@pytest.mark.usefixtures("dropout")
def test_without_options_it_is_train_and_the_summary_draws_nothing(
    config: DebuggingConfig, small: TrainConfig
) -> None:
    plain, lightning = run_both(config)
    assert_same(plain, lightning)
    train = run_half("plain_pytorch", "train", small, small.output_dir / "train")
    for name, values in train.results.items():
        assert torch.equal(values, plain.results[name]), name


def test_the_summaries_have_counts_and_shapes(
    config: DebuggingConfig,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = replace(config, fast_dev_run=1)
    plain_main(config, config.output_dir / "plain")
    plain = capsys.readouterr().out
    for said in ("[1, 64]", "[1, 3]", "[1, 784]", "50,240", "Total params: 101,651"):
        assert said in plain
    with caplog.at_level("INFO", "pytorch_lightning"):
        lightning_main(config, config.output_dir / "lightning")
    for said in ("[1, 784]", "[1, 3]", "decoder.2", "50.2 K", "101 K     Total params"):
        assert said in caplog.text


def test_a_share_counts_as_in_lightning(config: DebuggingConfig) -> None:
    # 3.78 of 63 batches, 2.8 and 8.0 of 8, rounded down.
    config = replace(
        config,
        limit_train_batches=0.06,
        limit_val_batches=0.35,
        limit_test_batches=1.0,
        max_epochs=1,
    )
    plain, lightning = run_both(config)
    assert_same(plain, lightning)
    assert len(plain.trace.steps) == 3
    assert len(plain.trace.evaluations) == 1 + 2 + 8  # the first is the summary's


@pytest.mark.parametrize(("overfit", "count"), [(2, 2), (0.05, 8)])
def test_overfitting_repeats_the_same_batches(
    config: DebuggingConfig, overfit: float, count: int
) -> None:
    # Of 160 batches to train on and 20 to validate on.
    config = replace(config, overfit_batches=overfit, batch_size=25)
    plain, lightning = run_both(config)
    assert_same(plain, lightning)
    batches = [step.batch for step in plain.trace.steps]
    assert len(batches) == 2 * count
    assert batches[:count] == batches[count:]
    assert len({*batches}) == count
    (images, _) = load_first(config)
    assert batches[0][0].mean[0] == pytest.approx(images.mean().item())


def load_first(config: DebuggingConfig) -> Any:
    """Return the first images that the training has, not shuffled."""
    data = MNISTData(config)
    data.setup("fit")
    return data.train_set.__getitems__(range(config.batch_size))


@pytest.mark.parametrize("count", [1, 3])
def test_a_dry_run_takes_the_same_steps_and_leaves_nothing(
    config: DebuggingConfig, count: int
) -> None:
    config = replace(config, fast_dev_run=count, max_epochs=5)
    plain, lightning = (trace_half(half, config) for half in HALVES)
    assert len(plain.steps) == count
    assert len(plain.evaluations) == 1 + 2 * count
    assert compare_runs(plain, lightning).first is None
    assert not config.output_dir.exists()


def trace_half(half: str, config: DebuggingConfig) -> Run:
    """Return what a half computes, as its command runs it."""
    with trace() as run:
        MAINS[half](config, config.make_run_dir(config.output_dir / half))
    return run


@pytest.mark.parametrize("option", [{"profiler": "simple"}, {"detect_anomaly": True}])
def test_watching_changes_no_number(
    config: DebuggingConfig, option: dict[str, Any]
) -> None:
    config = replace(config, max_epochs=1)
    without = run_half("plain_pytorch", "debugging", config, config.output_dir / "off")
    for ran in run_both(replace(config, **option)):
        assert_same(without, ran)
    assert not torch.is_anomaly_enabled()


@pytest.mark.parametrize("batches", [4, 12])  # 4 are too few for the schedules
def test_the_profiler_writes_traces_and_changes_no_number(
    config: DebuggingConfig, batches: int
) -> None:
    config = replace(config, max_epochs=1, limit_train_batches=batches)
    without = run_half("plain_pytorch", "debugging", config, config.output_dir / "off")
    for ran in run_both(replace(config, profiler="pytorch")):
        assert_same(without, ran)
    (path,) = (config.output_dir / "plain_pytorch").glob("*.json")
    names = event_names(path)
    assert path.name == "trace.json"
    assert names.count("training_step") == min(batches, 4) - (batches > 4)
    assert {"backward", "optimizer_step", "aten::mse_loss"} <= {*names}
    paths = (config.output_dir / "lightning").glob("*.json")
    names = [name for path in paths for name in event_names(path)]
    ends = {name.rpartition(".")[2] for name in names}
    assert {"training_step", "backward", "optimizer_step", "aten::mse_loss"} <= ends


def event_names(path: Path) -> list[str]:
    """Return the names of all events of a Chrome trace."""
    return [event["name"] for event in json.loads(path.read_text())["traceEvents"]]


@pytest.fixture
def spoil(
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[Callable[[Tensor], Tensor]], None]:
    """Return what changes the loss at step 14 of a training."""

    def spoil_with(change: Callable[[Tensor], Tensor]) -> None:
        for model in (PlainReconstructor, LitReconstructor):
            monkeypatch.setattr(
                model, "reconstruction_loss", spoilt(model.reconstruction_loss, change)
            )

    return spoil_with


def spoilt(
    loss_of: Callable[[Any, Tensor], Tensor], change: Callable[[Tensor], Tensor]
) -> Callable[[Any, Tensor], Tensor]:
    calls = 0

    def reconstruction_loss(model: Any, images: Tensor) -> Tensor:
        nonlocal calls
        loss = loss_of(model, images)
        calls += loss.requires_grad
        return change(loss) if calls == 15 and loss.requires_grad else loss

    return reconstruction_loss


@pytest.mark.parametrize("half", HALVES)
def test_anomaly_mode_raises_where_a_gradient_is_nan(
    config: DebuggingConfig,
    half: str,
    spoil: Callable[[Callable[[Tensor], Tensor]], None],
) -> None:
    spoil(lambda loss: loss + (loss * 0).sqrt())  # infinity times 0, on the way back
    config = replace(config, detect_anomaly=True)
    with (
        trace() as run,
        pytest.warns(UserWarning, match="Error detected in MulBackward0"),
        pytest.raises(RuntimeError, match="'MulBackward0' returned nan values"),
    ):
        MAINS[half](config, config.make_run_dir(config.output_dir / half))
    assert len(run.steps) == 14
    assert not torch.is_anomaly_enabled()


@pytest.mark.parametrize("half", HALVES)
def test_a_nan_loss_is_named_with_its_step_and_batch(
    config: DebuggingConfig,
    half: str,
    spoil: Callable[[Callable[[Tensor], Tensor]], None],
) -> None:
    spoil(lambda loss: loss + torch.nan)  # with finite gradients: no anomaly
    config = replace(config, detect_anomaly=True)
    said = "the training loss is nan at step 14, batch 2: lower --learning-rate"
    with trace() as run, pytest.raises(UserError, match=said):
        MAINS[half](config, config.make_run_dir(config.output_dir / half))
    assert len(run.steps) == 14


@pytest.mark.parametrize("half", HALVES)
def test_a_nan_loss_in_validation_is_named_too(
    config: DebuggingConfig, half: str
) -> None:
    config = replace(config, learning_rate=1e30, limit_train_batches=1)
    with pytest.raises(UserError, match="validation loss is nan at step 1, batch 0"):
        MAINS[half](config, config.make_run_dir(config.output_dir / half))
