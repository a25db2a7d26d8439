"""What happens between the epochs is the same in both halves, to the last bit."""

import copy
from collections.abc import Callable
from dataclasses import replace
from math import inf, isnan, nan
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_lightning.callbacks import EarlyStopping as LightningsEarlyStopping
from pytorch_lightning.callbacks import StochasticWeightAveraging
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

import lightning.callbacks
import plain_pytorch.callbacks
from compare.results import numbers
from lightning.callbacks import LitScheduledAutoEncoder, ReconstructionPictures
from lightning.train import LitMNIST, make_trainer
from plain_pytorch.callbacks import EarlyStopping
from shared.config import Parser, TrainConfig
from shared.errors import UsageError, UserError
from shared.model import AutoEncoder
from shared.options.callbacks import CallbacksConfig
from tests.parity.halves import Ran, assert_same, run_half

HALVES = ["plain_pytorch", "lightning"]
KEPT_BY_BOTH = [
    "epoch",
    "global_step",
    "state_dict",
    "optimizer_states",
    "lr_schedulers",
    "hyper_parameters",
]


@pytest.fixture
def options(small: TrainConfig) -> CallbacksConfig:
    """Return the options of a run of five short epochs."""
    return CallbacksConfig(**vars(replace(small, max_epochs=5)))


def run_both(config: CallbacksConfig) -> tuple[Ran, Ran]:
    plain, lightning = (
        run_half(half, "callbacks", config, config.output_dir / half) for half in HALVES
    )
    return plain, lightning


def assert_both_same(config: CallbacksConfig) -> Ran:
    """Run both halves, compare all they computed and saved, and return one run."""
    plain, lightning = run_both(config)
    assert_same(plain, lightning)
    folders = [config.output_dir / half for half in HALVES]
    names, others = (
        {path.name for path in folder.glob("checkpoints/*")} for folder in folders
    )
    assert names == others
    for name in names:
        mine, theirs = (load(folder, name) for folder in folders)
        averaging = {"current_model_state", "averaging_state"}
        assert mine.keys() & averaging == theirs.keys() & averaging
        for key in KEPT_BY_BOTH + sorted(mine.keys() & averaging):
            assert same_state(mine[key], theirs[key]), (name, key)
    mine, theirs = (pictures(folder) for folder in folders)
    assert mine == theirs
    return plain


def load(run_dir: Path, name: str) -> dict[str, Any]:
    """Return a checkpoint of a run."""
    return torch.load(run_dir / "checkpoints" / name, weights_only=True)


def same_state(one: Any, other: Any) -> bool:
    """Return whether nested dicts and lists are equal, their tensors to the bit."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(
            same_state(one[key], other[key]) for key in one
        )
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same_state, one, other))
    return torch.equal(one, other) if isinstance(one, Tensor) else one == other


def pictures(run_dir: Path) -> list[tuple[int, bytes]]:
    """Return the step and the PNG of every picture of reconstructions."""
    events = EventAccumulator(str(run_dir), size_guidance={"images": 0}).Reload()
    return [
        (image.step, image.encoded_image_string)
        for image in events.Images("reconstructions")
    ]


def rates(run: Ran) -> list[float]:
    """Return the learning rate of each of the epochs' first steps, of 12 each."""
    return [step.lr[0] for step in run.trace.steps[::12]]


def test_same_without_any_of_it(options: CallbacksConfig) -> None:
    run = assert_both_same(options)
    assert len(run.trace.steps) == 5 * 12  # early stopping was not triggered
    assert rates(run) == [1e-3] * 5
    assert run.results["lr-Adam"][:, 0].tolist() == [9, 19, 29, 39, 49, 59]


def test_a_schedule_of_epochs_moves_between_them(options: CallbacksConfig) -> None:
    run = assert_both_same(replace(options, lr_scheduler="step"))
    assert rates(run) == [1e-3, 5e-4, 2.5e-4, 1.25e-4, 6.25e-5]
    assert len({step.lr for step in run.trace.steps[:12]}) == 1


def test_cosine_ends_at_zero_after_the_last_epoch(options: CallbacksConfig) -> None:
    run = assert_both_same(replace(options, lr_scheduler="cosine"))
    assert rates(run) == sorted(rates(run), reverse=True)
    assert rates(run)[-1] > 0
    (schedule,) = load(options.output_dir / "plain_pytorch", "last.ckpt")[
        "lr_schedulers"
    ]
    assert schedule["_last_lr"] == [0]


def test_one_cycle_moves_with_every_step(options: CallbacksConfig) -> None:
    run = assert_both_same(replace(options, lr_scheduler="one-cycle"))
    lrs = [step.lr[0] for step in run.trace.steps]
    assert len(set(lrs)) > 50
    top = lrs.index(max(lrs))
    assert 12 < top < 24  # it rises for 30% of all 60 steps
    assert lrs[-1] < lrs[0] < lrs[top] <= 1e-3


def test_plateau_moves_after_a_validation_that_is_no_better(
    options: CallbacksConfig,
) -> None:
    config = replace(
        options, lr_scheduler="plateau", learning_rate=0.05, patience=100, max_epochs=8
    )
    run = assert_both_same(config)
    losses = run.results["val_loss"][:, 1].tolist()
    expected, best = [0.05], inf
    for loss in losses[:-1]:
        worse = loss >= best * (1 - 1e-4)
        expected.append(expected[-1] * 0.5 if worse else expected[-1])
        best = loss if not worse else best
    assert rates(run) == expected
    assert len(set(expected)) > 1


def test_early_stopping_that_stops(options: CallbacksConfig) -> None:
    config = replace(options, min_delta=0.05, patience=2, max_epochs=20)
    run = assert_both_same(config)
    assert 3 * 12 <= len(run.trace.steps) < 20 * 12
    # The test is logged in the epoch after the last one, which is not --max-epochs.
    epochs = len(run.trace.steps) // 12
    assert run.results["epoch"][:, 1].max() == epochs


def test_a_threshold_stops_at_once(options: CallbacksConfig) -> None:
    run = assert_both_same(replace(options, stopping_threshold=0.5))
    assert run.results["val_loss"][-1, 1] < 0.5
    assert (run.results["val_loss"][:-1, 1] >= 0.5).all()
    assert len(run.trace.steps) < 5 * 12


def test_a_higher_loss_can_be_better(options: CallbacksConfig) -> None:
    run = assert_both_same(replace(options, mode="max", patience=2))
    assert len(run.trace.steps) == 3 * 12  # it falls: the first was the best


@pytest.mark.parametrize("check_finite", [True, False])
def test_a_validation_loss_of_nan_is_left_to_early_stopping(
    options: CallbacksConfig, check_finite: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    reconstruction_loss = AutoEncoder.reconstruction_loss

    def nan_in_the_second_validation(model: AutoEncoder, images: Tensor) -> Tensor:
        loss = reconstruction_loss(model, images)
        if loss.requires_grad:
            seen.append(loss)
        return loss * nan if len(seen) == 2 * 12 and not loss.requires_grad else loss

    monkeypatch.setattr(
        AutoEncoder, "reconstruction_loss", nan_in_the_second_validation
    )
    config = replace(options, check_finite=check_finite, max_epochs=3)
    seen: list[Tensor] = []
    runs: list[Ran] = []
    for half in HALVES:
        seen.clear()
        if check_finite:  # the run ends with this epoch, and the test has no nan
            with monkeypatch.context() as patch:
                module = {
                    "plain_pytorch": plain_pytorch.callbacks,
                    "lightning": lightning.callbacks,
                }[half]
                load_weights = module.load_weights

                def at_the_end(
                    *arguments: Any, load: Callable[..., None] = load_weights
                ) -> None:
                    seen.clear()
                    load(*arguments)

                patch.setattr(module, "load_weights", at_the_end)
                runs.append(
                    run_half(half, "callbacks", config, config.output_dir / half)
                )
        else:
            runs.append(run_half(half, "callbacks", config, config.output_dir / half))
    assert [len(run.trace.steps) for run in runs] == [
        24 if check_finite else 36
    ] * 2
    for run in runs:  # nan is not equal to nan, even in the same place
        assert isnan(run.results["val_loss"][1, 1])
        run.results["val_loss"] = run.results["val_loss"].nan_to_num(nan=-1)
    assert_same(*runs)
