"""The lesson two_optimizers: two Adams take turns, the same in both halves."""

from dataclasses import replace

import pytest
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException

from lightning.two_optimizers import Model
from shared.options.train import Config as TrainConfig
from shared.options.two_optimizers import Config as OptimizersConfig
from shared.runtime.command import parse_config
from tests.parity.halves import Ran, assert_same, run_half
from tests.parity.planted import plant

HALVES = ("plain_pytorch", "lightning")


@pytest.fixture
def base(small: TrainConfig) -> OptimizersConfig:
    """Return the options of two epochs of 12 batches."""
    return OptimizersConfig(**vars(small), decoder_learning_rate=1e-2)


def run_one(half: str, config: OptimizersConfig) -> Ran:
    return run_half(half, "two_optimizers", config, config.output_dir / half)


def run_both(config: OptimizersConfig) -> tuple[Ran, Ran]:
    plain, lightning = (run_one(half, config) for half in HALVES)
    return plain, lightning


def test_same_and_they_take_turns(base: OptimizersConfig) -> None:
    plain, lightning = run_both(base)
    assert_same(plain, lightning)
    for half, ran in zip(HALVES, (plain, lightning), strict=True):
        assert [step.optimizer for step in ran.trace.steps] == [0, 1] * 24
        assert [step.lr for step in ran.trace.steps] == [(1e-3,), (1e-2,)] * 24
        encoder, decoder = ran.trace.optimizers
        assert {name.split(".")[0] for name in encoder.names} == {"encoder"}
        assert {name.split(".")[0] for name in decoder.names} == {"decoder"}
        # A batch is a point of the curve, but the steps of both optimizers count.
        assert ran.results["train_loss"][:, 0].tolist() == [9, 19]
        path = base.output_dir / half / "checkpoints" / "last.ckpt"
        checkpoint = torch.load(path, weights_only=True)
        assert checkpoint["global_step"] == 48
        assert len(checkpoint["optimizer_states"]) == 2
        # Lightning builds the model anew from either half's file.
        model = Model.load_from_checkpoint(path, weights_only=True)
        assert model.hparams["decoder_learning_rate"] == 1e-2


@pytest.mark.slow
def test_same_on_all_of_the_5000_digits(base: OptimizersConfig) -> None:
    plain, lightning = run_both(replace(base, limit_train_batches=None))
    assert_same(plain, lightning)
    assert len(plain.results["train_loss"]) == 12  # points of the curve


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU here")
def test_same_on_a_gpu(base: OptimizersConfig) -> None:
    assert_same(*run_both(replace(base, accelerator="cuda")))


@pytest.mark.parametrize(
    ("half", "right", "wrong"),
    [
        ("lightning", "with self.toggled_optimizer(optimizer):", "if True:"),
        ("plain_pytorch", 'inputs=optimizer.param_groups[0]["params"]', ""),
    ],
    ids=HALVES,
)
def test_gradients_of_the_other_part_cost_time_but_change_nothing(
    base: OptimizersConfig,
    half: str,
    right: str,
    wrong: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plant(monkeypatch, half, "two_optimizers", right, wrong)
    assert_same(*run_both(base))


@pytest.mark.parametrize(
    ("half", "right", "wrong", "first"),
    [
        pytest.param(
            "plain_pytorch",
            "for optimizer in optimizers:",
            "for optimizer in reversed(optimizers):",
            "optimizer at step 0",
            id="the decoder first",
        ),
        pytest.param(
            "plain_pytorch",
            "lr=decoder_lr",
            "lr=lr",
            "learning rate at step 1",
            id="one learning rate",
        ),
        pytest.param(
            "lightning",
            "                optimizer.zero_grad()\n",
            "",
            "gradient at step 2",
            id="no zero_grad",
        ),
        pytest.param(
            "plain_pytorch",
            "global_step * len(optimizers)",
            "global_step",
            "best.ckpt",
            id="batches counted, not steps",
        ),
    ],
)
def test_a_mistake_is_noticed(
    base: OptimizersConfig,
    half: str,
    right: str,
    wrong: str,
    first: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plant(monkeypatch, half, "two_optimizers", right, wrong)
    with pytest.raises(AssertionError, match=first):
        assert_same(*run_both(replace(base, max_epochs=1)))


@pytest.mark.parametrize(
    "argument", ["accumulate_grad_batches=2", "gradient_clip_val=1"]
)
def test_the_trainer_neither_accumulates_nor_clips(
    base: OptimizersConfig, argument: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    epochs = "max_epochs=config.max_epochs,"
    plant(monkeypatch, "lightning", "two_optimizers", epochs, f"{epochs} {argument},")
    with pytest.raises(MisconfigurationException, match="manual optimization"):
        run_one("lightning", base)


def test_a_step_around_the_trainer_is_not_counted_and_nothing_is_saved(
    base: OptimizersConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = "optimizer.optimizer.step()"
    plant(monkeypatch, "lightning", "two_optimizers", "optimizer.step()", bare)
    ran = run_one("lightning", base)
    assert len(ran.trace.steps) == 48
    assert not list(base.output_dir.rglob("*.ckpt"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--decoder-learning-rate=0", "must be above 0"),
        ("--decoder-learning-rate=-1", "must be above 0"),
        ("--decoder-learning-rate=nan", "must be above 0"),
        ("--decoder-learning-rate=inf", "must be above 0"),
        ("--decoder-learning-rate=None", "--decoder-learning-rate"),
        ("--accumulate-grad-batches=2", "--accumulate-grad-batches"),
        ("--gradient-clip-val=1", "--gradient-clip-val"),
        ("--warmup-steps=2", "--warmup-steps"),
    ],
)
def test_wrong_options_are_refused(
    arguments: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse_config(OptimizersConfig, "program", arguments=arguments.split())
    assert said in capsys.readouterr().err
