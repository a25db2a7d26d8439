"""The lesson debugging: each option changes both halves alike, to the last bit."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

import lightning.debugging
import plain_pytorch.debugging
from compare.divergence.difference import compare_runs
from compare.trace.command import trace
from compare.trace.run import Run
from shared.data import MNISTData
from shared.model import AutoEncoder
from shared.options.debugging import Config as DebuggingConfig
from shared.options.train import Config as TrainConfig
from shared.runtime.errors import UserError
from tests.parity.halves import Ran, assert_same, run_half

MAINS = {
    "plain_pytorch": plain_pytorch.debugging.main,
    "lightning": lightning.debugging.main,
}


@pytest.fixture
def config(small: TrainConfig) -> DebuggingConfig:
    """Return the options of 12 steps an epoch."""
    return DebuggingConfig(**vars(small))


def run_both(config: DebuggingConfig) -> tuple[Ran, Ran]:
    plain, lightning = (
        run_half(half, "debugging", config, config.output_dir / half) for half in MAINS
    )
    return plain, lightning


def trace_half(half: str, config: DebuggingConfig) -> Run:
    """Return what a half computes, as its command runs it."""
    with trace() as run:
        MAINS[half](config, config.make_run_dir(config.output_dir / half))
    return run


@pytest.mark.usefixtures("dropout")
def test_without_options_it_is_train_with_a_summary(
    config: DebuggingConfig,
    small: TrainConfig,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level("INFO", "pytorch_lightning"):
        plain, lightning = run_both(config)
    assert_same(plain, lightning)
    train = run_half("plain_pytorch", "train", small, small.output_dir / "train")
    assert_same(train, plain)
    printed = capsys.readouterr().out
    for said in ("50,435", "51,216", "Total params: 101,651"):
        assert said in printed
    for said in ("50.4 K", "51.2 K", "101 K     Total params"):
        assert said in caplog.text


def test_a_share_counts_as_in_lightning(config: DebuggingConfig) -> None:
    # 3.78 of 63 batches and 2.8 of 8, rounded down.
    config = replace(config, limit_train_batches=0.06, limit_val_batches=0.35)
    plain, lightning = run_both(config)
    assert_same(plain, lightning)
    assert len(plain.trace.steps) == 2 * 3
    assert len(plain.trace.evaluations) == 2 * 2


def test_one_is_a_batch_and_all_are_a_share(config: DebuggingConfig) -> None:
    config = replace(config, limit_train_batches=1, limit_val_batches=1.0, max_epochs=1)
    plain, lightning = run_both(config)
    assert_same(plain, lightning)
    assert len(plain.trace.steps) == 1
    assert len(plain.trace.evaluations) == 8


@pytest.mark.parametrize("half", MAINS)
@pytest.mark.parametrize(("train", "val"), [(0.01, 1.0), (1.0, 0.01)])
def test_a_share_below_one_batch_is_refused(
    config: DebuggingConfig, half: str, train: float, val: float
) -> None:
    config = replace(config, limit_train_batches=train, limit_val_batches=val)
    with pytest.raises(Exception, match=r"0\.01 .*(< 1|less than one batch)"):
        trace_half(half, config)


@pytest.mark.parametrize(
    ("overfit", "count"), [(2, 2), pytest.param(0.05, 8, marks=pytest.mark.slow)]
)
def test_overfitting_repeats_the_same_batches(
    config: DebuggingConfig, overfit: float, count: int
) -> None:
    # Of 160 batches to train on and 20 to validate on.
    config = replace(
        config,
        overfit_batches=overfit,
        batch_size=25,
        limit_train_batches=None,
        limit_val_batches=None,
    )
    plain, lightning = run_both(config)
    assert_same(plain, lightning)
    batches = [step.batch for step in plain.trace.steps]
    assert len(batches) == 2 * count
    assert batches[:count] == batches[count:]
    assert len({*batches}) == count
    assert len(plain.trace.evaluations) == 2 * (2 if overfit == 2 else 1)
    data = MNISTData(config)
    data.setup("fit")
    images, _ = data.train_set.__getitems__(range(25))  # the first ones, not shuffled
    assert batches[0][0] is not None
    assert batches[0][0].mean[0] == pytest.approx(images.mean().item())


@pytest.mark.parametrize("count", [1, 3])
def test_a_dry_run_takes_the_same_steps_and_leaves_nothing(
    config: DebuggingConfig, count: int
) -> None:
    config = replace(config, fast_dev_run=count, max_epochs=5)
    plain, lightning = (trace_half(half, config) for half in MAINS)
    assert len(plain.steps) == len(plain.evaluations) == count
    assert compare_runs(plain, lightning).first is None
    assert not config.output_dir.exists()


def test_looking_for_anomalies_changes_no_number(config: DebuggingConfig) -> None:
    config = replace(config, max_epochs=1, limit_train_batches=4)
    without = run_half("lightning", "debugging", config, config.output_dir / "off")
    for ran in run_both(replace(config, detect_anomaly=True)):
        assert_same(without, ran)


@pytest.fixture
def spoil(
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[Callable[[Tensor], Tensor]], None]:
    """Return what changes the loss at step 6, which is batch 2 of the second epoch."""

    def spoil_with(change: Callable[[Tensor], Tensor]) -> None:
        calls = 0

        def spoilt(model: AutoEncoder, images: Tensor) -> Tensor:
            nonlocal calls
            loss = reconstruction_loss(model, images)
            calls += loss.requires_grad
            return change(loss) if calls == 7 and loss.requires_grad else loss

        reconstruction_loss = AutoEncoder.reconstruction_loss
        monkeypatch.setattr(AutoEncoder, "reconstruction_loss", spoilt)

    return spoil_with


@pytest.mark.parametrize("half", MAINS)
def test_a_nan_gradient_is_an_anomaly_with_its_line(
    config: DebuggingConfig,
    half: str,
    spoil: Callable[[Callable[[Tensor], Tensor]], None],
) -> None:
    spoil(lambda loss: loss + (loss * 0).sqrt())  # infinity times 0, on the way back
    config = replace(config, detect_anomaly=True, limit_train_batches=4)
    with (
        trace() as run,
        pytest.warns(UserWarning, match="Error detected in MulBackward0") as warnings,
        pytest.raises(RuntimeError, match="'MulBackward0' returned nan values"),
    ):
        MAINS[half](config, config.make_run_dir(config.output_dir / half))
    assert len(run.steps) == 6
    assert any("(loss * 0).sqrt()" in str(warning.message) for warning in warnings)


@pytest.mark.parametrize("half", MAINS)
def test_a_nan_loss_is_named_with_its_step_and_batch(
    config: DebuggingConfig,
    half: str,
    spoil: Callable[[Callable[[Tensor], Tensor]], None],
) -> None:
    spoil(lambda loss: loss + torch.nan)  # with finite gradients: no anomaly
    config = replace(config, detect_anomaly=True, limit_train_batches=4)
    said = "loss nan at step 6, batch 2: lower --learning-rate"
    with trace() as run, pytest.raises(UserError, match=said):
        MAINS[half](config, config.make_run_dir(config.output_dir / half))
    assert len(run.steps) == 6


def test_batches_that_are_shuffled_are_noticed(
    config: DebuggingConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(
        config,
        overfit_batches=2,
        max_epochs=1,
        limit_train_batches=None,
        limit_val_batches=None,
    )
    lightning = run_half("lightning", "debugging", config, config.output_dir / "pl")
    sampler: Any = property(lambda sampler: True, lambda sampler, value: None)
    monkeypatch.setattr("shared.data.EpochSampler.shuffle", sampler, raising=False)
    plain = run_half("plain_pytorch", "debugging", config, config.output_dir / "plain")
    with pytest.raises(AssertionError, match="batch at step 0"):
        assert_same(plain, lightning)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU here")
def test_same_on_a_gpu(config: DebuggingConfig) -> None:
    assert_same(*run_both(replace(config, accelerator="cuda", detect_anomaly=True)))
