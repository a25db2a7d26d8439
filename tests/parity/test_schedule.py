"""Both halves follow each schedule in the same steps, and log the same rates."""

from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim.lr_scheduler import StepLR

from shared.options.schedule import Config as ScheduleConfig
from shared.options.train import Config as TrainConfig
from shared.runtime.command import parse_config
from tests.parity.halves import Ran, assert_same, run_half

HALVES = ["plain_pytorch", "lightning"]
SCHEDULES = ["step", "cosine", "one-cycle", "plateau"]


@pytest.fixture
def options(small: TrainConfig) -> ScheduleConfig:
    """Return the options of a run of five epochs of 12 steps."""
    return ScheduleConfig(**vars(replace(small, max_epochs=5)))


def run_same(config: ScheduleConfig) -> Ran:
    """Run both halves, compare them and their schedulers, and return one run."""
    plain, lightning = (
        run_half(half, "schedule", config, config.output_dir / half) for half in HALVES
    )
    assert_same(plain, lightning)
    folders = [config.output_dir / half for half in HALVES]
    for name in ("best.ckpt", "last.ckpt"):
        mine, theirs = (load(folder, name) for folder in folders)
        assert mine["lr_schedulers"] == theirs["lr_schedulers"]
        assert mine["hyper_parameters"] == theirs["hyper_parameters"]
    # Every tenth step is logged, with the rate that this step was taken with.
    logged = [float(torch.tensor(lr)) for lr in rates(plain)[9::10]]
    assert plain.results["lr-Adam"][:, 1].tolist() == logged
    assert plain.results["lr-Adam"][:, 0].equal(plain.results["train_loss"][:, 0])
    return plain


def load(run_dir: Path, name: str) -> dict[str, Any]:
    """Return a checkpoint of a run."""
    return torch.load(run_dir / "checkpoints" / name, weights_only=True)


def rates(run: Ran) -> list[float | None]:
    """Return the learning rate of every step."""
    return [step.lr[0] for step in run.trace.steps]


def test_step_moves_between_epochs(options: ScheduleConfig) -> None:
    run = run_same(replace(options, lr_scheduler="step"))
    assert rates(run)[::12] == [1e-3, 5e-4, 2.5e-4, 1.25e-4, 6.25e-5]
    assert len(set(rates(run)[:12])) == 1


def test_cosine_ends_at_zero_after_the_last_epoch(options: ScheduleConfig) -> None:
    run = run_same(replace(options, lr_scheduler="cosine"))
    assert rates(run) == sorted(rates(run), reverse=True)
    assert rates(run)[-1] > 0
    # The checkpoint is younger than the last step of the schedule.
    last = load(options.output_dir / "plain_pytorch", "last.ckpt")
    assert last["lr_schedulers"][0]["_last_lr"] == [0]


def test_one_cycle_moves_with_every_step(options: ScheduleConfig) -> None:
    run = run_same(replace(options, lr_scheduler="one-cycle"))
    lrs = rates(run)
    assert len(set(lrs)) > 50
    top = lrs.index(max(lrs))
    assert 12 < top < 24  # it rises for 30% of all 60 steps
    assert lrs[-1] < lrs[0] < lrs[top] <= 1e-3


def test_plateau_moves_after_a_validation_that_is_no_better(
    options: ScheduleConfig,
) -> None:
    config = replace(options, lr_scheduler="plateau", learning_rate=0.05, max_epochs=8)
    run = run_same(config)
    losses = run.results["val_loss"][:, 1].tolist()
    expected, best = [0.05], inf
    for loss in losses:
        worse = loss >= best * (1 - 1e-4)
        expected.append(expected[-1] * 0.5 if worse else expected[-1])
        best = loss if not worse else best
    assert rates(run)[::12] == expected[:-1]
    assert len(set(expected)) > 1
    # The checkpoint is older than the last step of the schedule.
    last = load(options.output_dir / "lightning", "last.ckpt")
    assert last["lr_schedulers"][0]["num_bad_epochs"] == 0
    assert last["optimizer_states"][0]["param_groups"][0]["lr"] == expected[-2]


class Frozen(StepLR):
    """A schedule in which nothing moves."""

    def get_lr(self) -> list[float]:  # type: ignore[override]
        return [float(lr) for lr in self.base_lrs]


@pytest.mark.parametrize("half", HALVES)
def test_a_rate_that_does_not_move_is_noticed(
    options: ScheduleConfig, half: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{half}.schedule.StepLR", Frozen)
    with pytest.raises(AssertionError, match="learning rate at step 12"):
        run_same(replace(options, max_epochs=2))


@pytest.mark.slow
@pytest.mark.usefixtures("dropout")
@pytest.mark.parametrize("batch_size", [64, 50])  # a short last batch, none
@pytest.mark.parametrize("lr_scheduler", SCHEDULES)
def test_same_on_the_5000_digits(
    options: ScheduleConfig, lr_scheduler: Any, batch_size: int
) -> None:
    config = replace(options, lr_scheduler=lr_scheduler, batch_size=batch_size)
    run = run_same(replace(config, limit_train_batches=None, limit_val_batches=None))
    assert len(run.trace.steps) == 5 * -(-4000 // batch_size)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU here")
@pytest.mark.parametrize("lr_scheduler", SCHEDULES)
def test_same_on_a_gpu(options: ScheduleConfig, lr_scheduler: Any) -> None:
    run_same(replace(options, accelerator="cuda", lr_scheduler=lr_scheduler))


def test_a_wrong_schedule_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse_config(ScheduleConfig, "program", arguments=["--lr-scheduler=linear"])
    said = capsys.readouterr().err
    assert "--lr-scheduler" in said
    assert "linear" in said
    assert "one-cycle" in said
