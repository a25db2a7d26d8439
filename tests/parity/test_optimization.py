"""The lesson optimization computes the same in both halves, whatever is asked of it."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from torch import Tensor

from lightning.optimization import MODELS, LitAdam, make_trainer
from lightning.train import LitMNIST
from plain_pytorch.optimization import PlainAdam
from shared.options.optimization import OptimizationConfig
from shared.options.train import TrainConfig
from shared.runtime.errors import UserError
from tests.parity.halves import Ran, assert_same, run_half

HALVES = ("plain_pytorch", "lightning")
FEW = {"batch_size": 16, "hidden_dim": 8}  # LBFGS computes the loss 25 times a step
ALONE: dict[str, dict[str, Any]] = {
    "exact windows": {"accumulate_grad_batches": 4},
    "a short last window": {"accumulate_grad_batches": 5},
    "a window longer than the epoch": {"accumulate_grad_batches": 50},
    "clip by norm": {"gradient_clip_val": 0.05},
    "clip by value": {"gradient_clip_val": 1e-3, "gradient_clip_algorithm": "value"},
    "another rate for the decoder": {"decoder_learning_rate": 1e-2},
    "warm-up": {"warmup_steps": 7},
    "two": {"optimizer": "two"},
    "lbfgs": {"optimizer": "lbfgs", "max_epochs": 1, **FEW},
}
TOGETHER: dict[str, dict[str, Any]] = {
    "adam": {
        "accumulate_grad_batches": 6,
        "gradient_clip_val": 0.05,
        "warmup_steps": 4,
        "decoder_learning_rate": 1e-2,
    },
    "adam by value": {
        "accumulate_grad_batches": 2,
        "gradient_clip_val": 1e-3,
        "gradient_clip_algorithm": "value",
        "warmup_steps": 100,
    },
    "two": {"optimizer": "two", "decoder_learning_rate": 1e-2},
    "lbfgs": {
        "optimizer": "lbfgs",
        "gradient_clip_val": 0.05,
        "warmup_steps": 3,
        "limit_train_batches": 5,
        **FEW,
    },
}


@pytest.fixture
def base(small: TrainConfig) -> OptimizationConfig:
    """Return the options of a run of two epochs of 12 batches."""
    return OptimizationConfig(**vars(small))


def run_one(half: str, config: OptimizationConfig) -> Ran:
    return run_half(half, "optimization", config, config.output_dir / half)


def run_both(config: OptimizationConfig) -> tuple[Ran, Ran]:
    plain, lightning = (run_one(half, config) for half in HALVES)
    return plain, lightning


def last_checkpoint(half: str, config: OptimizationConfig) -> dict[str, Any]:
    path = config.output_dir / half / "checkpoints" / "last.ckpt"
    checkpoint: dict[str, Any] = torch.load(path, weights_only=True)
    return checkpoint


@pytest.mark.parametrize("options", ALONE.values(), ids=ALONE)
def test_same_with_one_option(
    base: OptimizationConfig, options: dict[str, Any]
) -> None:
    assert_same(*run_both(replace(base, **options)))


@pytest.mark.parametrize("options", TOGETHER.values(), ids=TOGETHER)
def test_same_with_many_options(
    base: OptimizationConfig, options: dict[str, Any]
) -> None:
    # 4,000 images in 57 batches, the last one of 28: 10 windows of 6, the last of 3.
    config = replace(base, batch_size=71, limit_train_batches=None)
    config = replace(config, **options)
    plain, lightning = run_both(config)
    assert_same(plain, lightning)
    if config.limit_train_batches is None:
        assert len(plain.results["grad_norm"]) >= 2  # points of the curves
    kept = [last_checkpoint(half, config) for half in HALVES]
    for key in ("hyper_parameters", "dataset", "epoch", "global_step"):
        assert kept[0][key] == kept[1][key]
    assert kept[0]["hyper_parameters"]["warmup_steps"] == config.warmup_steps
    for half in HALVES:  # Lightning builds the model anew from either half's file
        path = config.output_dir / half / "checkpoints" / "last.ckpt"
        model = MODELS[config.optimizer].load_from_checkpoint(path, weights_only=True)
        assert model.hparams == kept[0]["hyper_parameters"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU here")
@pytest.mark.parametrize("options", TOGETHER.values(), ids=TOGETHER)
def test_same_on_a_gpu(base: OptimizationConfig, options: dict[str, Any]) -> None:
    assert_same(*run_both(replace(base, accelerator="cuda", **options)))


@pytest.mark.parametrize("half", HALVES)
def test_a_short_last_window_steps(base: OptimizationConfig, half: str) -> None:
    steps = run_one(half, replace(base, accumulate_grad_batches=5)).trace.steps
    assert [len(step.batch) for step in steps] == [5, 5, 2] * 2
    assert [len(step.loss) for step in steps] == [5, 5, 2] * 2


@pytest.mark.parametrize(
    "options", [ALONE["clip by norm"], ALONE["clip by value"]], ids=["norm", "value"]
)
def test_gradients_are_clipped(
    base: OptimizationConfig, options: dict[str, Any]
) -> None:
    base = replace(base, max_epochs=1)
    clipped = run_one("plain_pytorch", replace(base, **options))
    free = run_one("lightning", base)
    first, first_free = clipped.trace.steps[0], free.trace.steps[0]
    assert first.loss == first_free.loss
    assert first.gradient.norm < first_free.gradient.norm
    if options == ALONE["clip by norm"]:
        norms = [step.gradient.norm for step in clipped.trace.steps]
        assert norms == pytest.approx([0.05] * 12, rel=1e-4)
    # The curve has the norm before clipping.
    limit = options["gradient_clip_val"]
    assert (clipped.results["grad_norm"][:, 1] > limit).all()


@pytest.mark.parametrize("half", HALVES)
def test_every_group_warms_up_to_its_own_rate(
    base: OptimizationConfig, half: str
) -> None:
    config = replace(base, warmup_steps=8, decoder_learning_rate=0.5, max_epochs=1)
    ran = run_one(half, config)
    expected = [
        (1e-3 * min(1, step / 8), 0.5 * min(1, step / 8)) for step in range(1, 13)
    ]
    assert [step.lr for step in ran.trace.steps] == expected


@pytest.mark.parametrize("half", HALVES)
def test_lbfgs_computes_the_loss_many_times_a_step(
    base: OptimizationConfig, half: str
) -> None:
    config = replace(base, **ALONE["lbfgs"])
    ran = run_one(half, config)
    assert len(ran.trace.steps) == 12
    losses = [loss for step in ran.trace.steps for loss in step.loss]
    assert len(losses) > 10 * 12
    # The mean of the epoch is over all of them, the curve shows the last of a step.
    ((_, mean),) = ran.results["train_loss_epoch"].tolist()
    assert mean == pytest.approx(sum(losses) / len(losses))
    ((_, shown),) = ran.results["train_loss"].tolist()
    assert shown == ran.trace.steps[9].loss[-1]


@pytest.mark.parametrize("half", HALVES)
def test_two_optimizers_take_turns(base: OptimizationConfig, half: str) -> None:
    config = replace(base, optimizer="two")
    ran = run_one(half, config)
    assert [step.optimizer for step in ran.trace.steps] == [0, 1] * 24
    encoder, decoder = ran.trace.optimizers
    assert {name.split(".")[0] for name in encoder.names} == {"encoder"}
    assert {name.split(".")[0] for name in decoder.names} == {"decoder"}
    # Every optimizer's steps count, but a batch is one point of a curve.
    assert last_checkpoint(half, config)["global_step"] == 48
    assert ran.results["train_loss"][:, 0].tolist() == [9, 19]
    assert ran.results["test_loss"][:, 0].tolist() == [24]


@pytest.mark.parametrize(
    "options", [{"accumulate_grad_batches": 2}, {"gradient_clip_val": 1.0}], ids=str
)
def test_the_trainer_refuses_what_the_options_refuse(
    base: OptimizationConfig, options: dict[str, Any]
) -> None:
    trainer = make_trainer(replace(base, **options), base.output_dir)
    model = MODELS["two"](64, 3, 1e-3, 1e-3, 1)
    with pytest.raises(MisconfigurationException, match="manual optimization"):
        trainer.fit(model, datamodule=LitMNIST(base))


@pytest.mark.parametrize(
    "options", [{"accumulate_grad_batches": 5}, {"optimizer": "two"}], ids=str
)
def test_a_loss_that_is_not_finite_ends_both_halves_alike(
    base: OptimizationConfig, options: dict[str, Any]
) -> None:
    config = replace(base, learning_rate=1e30, **options)
    errors = []
    for half in HALVES:
        # With two optimizers, the decoder's turn comes after the encoder's step.
        with pytest.raises(UserError, match=r"loss is \w+ at step 1:") as e:
            run_one(half, config)
        errors.append(str(e.value))
    assert errors[0] == errors[1]


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("a short last window", "batch at step 0"),
        ("clip by norm", "gradient at step 0"),
        ("clip by value", "gradient at step 0"),
        ("another rate for the decoder", "learning rate at step 0"),
        ("warm-up", "learning rate at step 0"),
        ("two", "gradient at step 0"),
        ("lbfgs", "batch at step 0"),
    ],
)
def test_a_forgotten_option_is_noticed(
    base: OptimizationConfig, name: str, first: str
) -> None:
    base = replace(base, limit_train_batches=2)
    with pytest.raises(AssertionError, match=first):
        assert_same(
            run_one("plain_pytorch", replace(base, **ALONE[name])),
            run_one("lightning", base),
        )


def test_a_short_window_divided_by_its_own_length_is_noticed(
    base: OptimizationConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    backward, count = PlainAdam.backward, 0

    def divided_otherwise(model: PlainAdam, loss: Tensor) -> Tensor:
        nonlocal count
        count += 1
        return backward(model, loss * 5 / 2 if count in (11, 12) else loss)

    monkeypatch.setattr(PlainAdam, "backward", divided_otherwise)
    config = replace(base, accumulate_grad_batches=5, max_epochs=1)
    with pytest.raises(AssertionError, match="loss at step 2"):
        assert_same(*run_both(config))


def test_a_warm_up_that_comes_after_the_step_is_noticed(
    base: OptimizationConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = LitAdam.optimizer_step

    def too_late(
        model: LitAdam, epoch: int, batch_idx: int, optimizer: Any, closure: Any
    ) -> None:
        optimizer.step(closure=closure)
        warm_up_alone = SimpleNamespace(
            param_groups=optimizer.param_groups, step=lambda closure: None
        )
        step(model, epoch, batch_idx, cast(Any, warm_up_alone))

    monkeypatch.setattr(LitAdam, "optimizer_step", too_late)
    with pytest.raises(AssertionError, match="learning rate at step 0"):
        assert_same(*run_both(replace(base, warmup_steps=7, max_epochs=1)))


def test_what_is_logged_between_two_calls_of_training_step_costs_the_first(
    base: OptimizationConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    backward = LitAdam.backward

    def and_log(model: LitAdam, loss: Tensor) -> None:
        backward(model, loss)
        model.log("grad_norm", model.grad_norm)

    monkeypatch.setattr(LitAdam, "backward", and_log)
    monkeypatch.setattr(LitAdam, "on_train_batch_end", lambda *args: None)
    config = replace(base, **ALONE["lbfgs"], limit_train_batches=2)
    with pytest.raises(AssertionError, match="train_loss_epoch"):
        assert_same(*run_both(config))
