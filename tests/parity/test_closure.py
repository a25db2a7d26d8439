"""The lesson closure: LBFGS asks for the loss many times in a step, in both halves."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from pytorch_lightning import LightningModule

from shared.options.train import Config as TrainConfig
from shared.runtime.command import parse_config
from tests.parity.halves import Ran, assert_same, run_half
from tests.parity.planted import plant

HALVES = ("plain_pytorch", "lightning")
LBFGS = """torch.optim.LBFGS(
            self.parameters(),
            lr=self.hparams["learning_rate"],
            line_search_fn="strong_wolfe",
        )"""
ADAM = 'torch.optim.Adam(self.parameters(), lr=self.hparams["learning_rate"])'


@pytest.fixture
def base(small: TrainConfig) -> TrainConfig:
    """Return the options of an epoch of 12 small batches."""
    return replace(small, max_epochs=1, batch_size=16, hidden_dim=8)


def run_one(half: str, config: TrainConfig) -> Ran:
    return run_half(half, "closure", config, config.output_dir / half)


def run_both(config: TrainConfig) -> tuple[Ran, Ran]:
    plain, lightning = (run_one(half, config) for half in HALVES)
    return plain, lightning


def test_same_and_the_loss_is_computed_many_times_a_step(base: TrainConfig) -> None:
    plain, lightning = run_both(base)
    assert_same(plain, lightning)
    for ran in (plain, lightning):
        assert len(ran.trace.steps) == 12
        assert sum(len(step.loss) for step in ran.trace.steps) > 10 * 12
        assert len(ran.trace.steps[0].batch) == 1
        # The curve shows the loss of the last call.
        ((_, shown),) = ran.results["train_loss"].tolist()
        assert shown == ran.trace.steps[9].loss[-1]


def test_adam_calls_the_closure_once_and_computes_what_train_does(
    base: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = run_half("plain_pytorch", "train", base, base.output_dir / "train")
    for half in HALVES:
        plant(monkeypatch, half, "closure", LBFGS, ADAM)
        assert_same(train, run_one(half, base))


@pytest.mark.slow
def test_same_on_all_of_the_5000_digits(small: TrainConfig) -> None:
    # 14 batches, the last one of 100.
    config = replace(
        small,
        batch_size=300,
        learning_rate=1.0,
        limit_train_batches=None,
        max_epochs=1,
    )
    plain, lightning = run_both(config)
    assert_same(plain, lightning)
    assert len(plain.results["train_loss"]) == 1  # points of the curve


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU here")
def test_same_on_a_gpu(base: TrainConfig) -> None:
    assert_same(*run_both(replace(base, accelerator="cuda")))


@pytest.mark.parametrize(
    ("half", "right", "wrong", "first"),
    [
        pytest.param("lightning", LBFGS, ADAM, "loss at step 0", id="Adam"),
        pytest.param(
            "plain_pytorch",
            "                optimizer.zero_grad()\n",
            "",
            "loss at step 0",
            id="no zero_grad",
        ),
        pytest.param(
            "plain_pytorch",
            "            optimizer.step(closure)",
            "            closure()\n            optimizer.step(closure)",
            "loss at step 0",
            id="one call too many",
        ),
        pytest.param(
            "plain_pytorch",
            '"train_loss", losses[-1]',
            '"train_loss", losses[0]',
            "train_loss",
            id="the first loss in the curve",
        ),
        pytest.param(
            "lightning",
            'line_search_fn="strong_wolfe"',
            "line_search_fn=None",
            "loss at step 0",
            id="no line search",
        ),
    ],
)
def test_a_mistake_is_noticed(
    base: TrainConfig,
    half: str,
    right: str,
    wrong: str,
    first: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plant(monkeypatch, half, "closure", right, wrong)
    few = 10 if first == "train_loss" else 2
    with pytest.raises(AssertionError, match=first):
        assert_same(*run_both(replace(base, limit_train_batches=few)))


def test_accumulation_adds_up_the_calls_of_the_closure(
    base: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    epochs, zeroed = "max_epochs=config.max_epochs,", 0

    def count(
        model: LightningModule, epoch: int, batch_idx: int, optimizer: Any
    ) -> None:
        nonlocal zeroed
        zeroed += 1
        optimizer.zero_grad()

    monkeypatch.setattr(LightningModule, "optimizer_zero_grad", count)
    accumulate = f"{epochs} accumulate_grad_batches=2,"
    plant(monkeypatch, "lightning", "closure", epochs, accumulate)
    ran = run_one("lightning", base)
    assert len(ran.trace.steps) == 6
    assert zeroed == 6  # before the first batch of a window only
    assert sum(len(step.loss) for step in ran.trace.steps) > 2 * 12


@pytest.mark.parametrize(
    "option", ["--accumulate-grad-batches=2", "--decoder-learning-rate=1"]
)
def test_options_of_other_lessons_are_refused(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse_config(TrainConfig, "program", arguments=[option])
    assert option.split("=")[0] in capsys.readouterr().err
