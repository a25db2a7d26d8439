"""Early stopping stops both halves in the same epoch, and as Lightning's rule says."""

import io
import logging
from contextlib import redirect_stdout
from dataclasses import replace
from math import inf, nan
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor

import lightning.early_stopping
import plain_pytorch.early_stopping
from shared.data import Batch
from shared.model import AutoEncoder
from shared.options.early_stopping import Config as StoppingConfig
from shared.options.train import Config as TrainConfig
from shared.runtime.command import parse_config, to_arguments
from tests.parity.halves import Ran, assert_same, run_half
from tests.processes import run_forked

HALVES = ["plain_pytorch", "lightning"]
STOPPED = "Stopped early: val_loss no longer falls"


@pytest.fixture
def options(small: TrainConfig) -> StoppingConfig:
    """Return the options of a run that stops after a few of its 20 epochs."""
    config = StoppingConfig(**vars(small))
    return replace(config, max_epochs=20, min_delta=0.05, patience=2)


def run_both(config: StoppingConfig) -> tuple[Ran, Ran]:
    plain, lightning = (
        run_half(half, "early_stopping", config, config.output_dir / half)
        for half in HALVES
    )
    return plain, lightning


def test_both_stop_in_the_same_epoch_and_say_why(
    options: StoppingConfig,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = logging.getLogger("pytorch_lightning")
    monkeypatch.setattr(log, "handlers", [caplog.handler])
    plain, lightning = run_both(options)
    assert_same(plain, lightning)
    assert 3 * 12 <= len(plain.trace.steps) < 20 * 12
    assert STOPPED in capsys.readouterr().out
    assert "did not improve in the last 2 records" in caplog.text


def test_a_loss_that_falls_stops_nothing(
    options: StoppingConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    plain, lightning = run_both(
        replace(options, max_epochs=3, patience=1, min_delta=0.0)
    )
    assert_same(plain, lightning)
    assert len(plain.trace.steps) == 3 * 12
    assert STOPPED not in capsys.readouterr().out


def test_one_epoch_more_is_noticed(
    options: StoppingConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    class TooPatient(pl.callbacks.EarlyStopping):
        def __init__(self, monitor: str, patience: int, **options: Any) -> None:
            super().__init__(monitor, patience=patience + 1, **options)

    monkeypatch.setattr(lightning.early_stopping, "EarlyStopping", TooPatient)
    with pytest.raises(AssertionError, match="length at step"):
        assert_same(*run_both(options))


@pytest.mark.parametrize("bad", [nan, inf])
def test_a_loss_that_is_not_finite_stops_both(
    options: StoppingConfig, bad: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    reconstruction_loss = AutoEncoder.reconstruction_loss
    runs = []
    for half in HALVES:
        steps = 0

        def bad_after_24_steps(model: AutoEncoder, images: Tensor) -> Tensor:
            nonlocal steps
            loss = reconstruction_loss(model, images)
            steps += loss.requires_grad
            return loss if loss.requires_grad or steps < 24 else loss * bad

        with monkeypatch.context() as patch:
            patch.setattr(AutoEncoder, "reconstruction_loss", bad_after_24_steps)
            folder = options.output_dir / half
            runs.append(run_half(half, "early_stopping", options, folder))
        assert len(runs[-1].trace.steps) == 24
        losses = runs[-1].results["val_loss"][:, 1]
        assert losses.isfinite().tolist() == [True, False]
        losses.nan_to_num_(nan=-1)  # nan is not equal to itself
    assert_same(*runs)


class OneBatch(list[Batch]):
    """As much of a loader as the loop asks for."""

    def __init__(self) -> None:
        super().__init__([[torch.zeros(1, 1, 28, 28), torch.zeros(1)]])
        self.sampler = SimpleNamespace(set_epoch=lambda epoch: None)


class Prescribed(plain_pytorch.early_stopping.Model):
    """A model whose validation losses are given."""

    def __init__(self, losses: list[float]) -> None:
        super().__init__(1, 1, 1e-3)
        self.losses = iter(losses)
        self.epochs = 0

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self.epochs += 1
        return torch.tensor(next(self.losses))


def run_plain_loop(config: StoppingConfig, losses: list[float]) -> tuple[int, bool]:
    """Return how many epochs the hand-written loop trains, and whether it stops."""
    loader = OneBatch()
    data: Any = SimpleNamespace(
        prepare_data=lambda: None,
        setup=lambda stage: None,
        train_dataloader=lambda: loader,
        val_dataloader=lambda: loader,
    )
    nothing = SimpleNamespace(
        add_scalar=lambda *arguments: None, close=lambda *arguments: None
    )
    model = Prescribed(losses)
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(said):
        lesson = plain_pytorch.early_stopping
        patch.setattr(lesson, "SummaryWriter", lambda run_dir: nothing)
        patch.setattr(lesson, "write_checkpoint", lambda path, checkpoint: None)
        patch.setattr(lesson, "tqdm", lambda batches, description: batches)
        config = replace(config, max_epochs=len(losses), accelerator="cpu")
        lesson.fit(model, data, config, Path())
    return model.epochs, STOPPED in said.getvalue()


class StandIn(SimpleNamespace):
    """As much of a Trainer as EarlyStopping asks for."""

    def __init__(self) -> None:
        super().__init__(
            val_check_interval=1.0,
            check_val_every_n_epoch=1,
            state=SimpleNamespace(fn=TrainerFn.FITTING),
            sanity_checking=False,
            fast_dev_run=False,
            should_stop=False,
            strategy=SimpleNamespace(reduce_boolean_decision=lambda one, **_: one),
        )


def run_lightnings_callback(
    config: StoppingConfig, losses: list[float]
) -> tuple[int, bool]:
    """Return after how many epochs Lightning's callback stops, and whether it does."""
    callback = pl.callbacks.EarlyStopping(
        "val_loss", patience=config.patience, min_delta=config.min_delta
    )
    trainer: Any = StandIn()
    model: Any = None
    callback.setup(trainer, model, "fit")
    for trainer.current_epoch, loss in enumerate(losses):
        trainer.callback_metrics = {"val_loss": torch.tensor(loss)}
        callback.on_train_epoch_end(trainer, model)
        if trainer.should_stop:
            break
    return trainer.current_epoch + 1, trainer.should_stop


# Tenths are not exact, so that many are better in 32 bits and not in 64, or equal.
TENTHS = st.integers(-2, 9).map(lambda tenths: tenths / 10)
LOSSES = st.one_of(
    TENTHS,
    TENTHS,
    st.sampled_from([nan, inf, -inf]),
    st.floats(width=32, allow_nan=False),
)
MIN_DELTAS = st.one_of([st.sampled_from([0.0, 0.1, 0.2, 0.3])] * 3) | st.floats(0, 10)


@settings(max_examples=500, derandomize=True, database=None, deadline=None)
@given(
    patience=st.integers(1, 4),
    min_delta=MIN_DELTAS,
    losses=st.lists(LOSSES, min_size=5, max_size=20),
)
def test_the_rule_is_lightnings(
    patience: int, min_delta: float, losses: list[float]
) -> None:
    config = StoppingConfig(patience=patience, min_delta=min_delta)
    assert run_plain_loop(config, losses) == run_lightnings_callback(config, losses)


def test_the_rule_computes_in_32_bits() -> None:
    assert torch.tensor(0.1).item() + 0.2 < torch.tensor(0.3).item()  # in 64 bits
    config = StoppingConfig(patience=1, min_delta=0.2)
    losses = [0.3, 0.1, 0.0]
    assert run_plain_loop(config, losses) == (2, True)
    assert run_lightnings_callback(config, losses) == (2, True)


@pytest.mark.slow
@pytest.mark.parametrize("half", HALVES)
def test_the_command(options: StoppingConfig, half: str) -> None:
    status, _, stderr = run_forked(f"{half}.early_stopping", *to_arguments(options))
    assert status == 0
    assert "site-packages" not in stderr  # no warning, from whichever library


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("--patience=0", "--patience 0: must be from 1"),
        ("--patience=1.5", "invalid literal"),
        ("--min-delta=-0.1", "--min-delta -0.1: must be from 0"),
        ("--min-delta=nan", "--min-delta nan: must be from 0"),
    ],
)
def test_a_wrong_option_is_named(
    argument: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse_config(StoppingConfig, "program", arguments=[argument])
    assert said in capsys.readouterr().err
