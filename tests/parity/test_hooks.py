"""The lesson hooks logs the gradient's norm and warms the learning rate up."""

from dataclasses import replace

import pytest
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException

from lightning.hooks import Model
from shared.options.hooks import Config as HooksConfig
from shared.options.train import Config as TrainConfig
from shared.runtime.command import parse_config
from tests.parity.halves import Ran, assert_same, run_half
from tests.parity.planted import plant

HALVES = ("plain_pytorch", "lightning")


@pytest.fixture
def base(small: TrainConfig) -> HooksConfig:
    """Return the options of two epochs of 12 batches."""
    return HooksConfig(**vars(small), warmup_steps=8)


def run_one(half: str, config: HooksConfig) -> Ran:
    return run_half(half, "hooks", config, config.output_dir / half)


def run_both(config: HooksConfig) -> tuple[Ran, Ran]:
    plain, lightning = (run_one(half, config) for half in HALVES)
    return plain, lightning


def test_same_curves_and_the_rate_rises_to_its_full_value(base: HooksConfig) -> None:
    plain, lightning = run_both(base)
    assert_same(plain, lightning)
    for ran in (plain, lightning):
        expected = [(1e-3 * min(1, step / 8),) for step in range(1, 25)]
        assert [step.lr for step in ran.trace.steps] == expected
        norms = [ran.trace.steps[step].gradient.norm for step in (9, 19)]
        steps, logged = ran.results["grad_norm"].T.tolist()
        assert steps == [9, 19]
        assert logged == pytest.approx(norms)
    for half in HALVES:  # Lightning builds the model anew from either half's file
        path = base.output_dir / half / "checkpoints" / "last.ckpt"
        model = Model.load_from_checkpoint(path, weights_only=True)
        assert model.hparams["warmup_steps"] == 8


def test_a_warm_up_of_one_step_is_the_lesson_train(
    small: TrainConfig, base: HooksConfig
) -> None:
    train = run_half("plain_pytorch", "train", small, small.output_dir / "train")
    hooks = run_one("plain_pytorch", replace(base, warmup_steps=1))
    del hooks.results["grad_norm"]
    assert_same(train, hooks)


@pytest.mark.slow
def test_same_on_all_of_the_5000_digits(base: HooksConfig) -> None:
    plain, lightning = run_both(
        replace(base, limit_train_batches=None, warmup_steps=100)
    )
    assert_same(plain, lightning)
    assert len(plain.results["grad_norm"]) == 12


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU here")
def test_same_on_a_gpu(base: HooksConfig) -> None:
    assert_same(*run_both(replace(base, accelerator="cuda")))


@pytest.mark.parametrize(
    ("half", "right", "wrong", "first"),
    [
        pytest.param(
            "plain_pytorch",
            "(global_step + 1) /",
            "global_step /",
            "learning rate at step 0",
            id="counted from 0",
        ),
        pytest.param(
            "plain_pytorch",
            "# Warmup: of the learning rate, before the step.",
            "optimizer.step()",
            "learning rate at step 0",
            id="after the step",
        ),
        pytest.param(
            "lightning",
            "def optimizer_step(",
            "def optimiser_step(",
            "learning rate at step 0",
            id="a hook with a misspelt name",
        ),
        pytest.param(
            "lightning",
            "get_total_norm(grads)",
            "get_total_norm(grads[:-1])",
            "grad_norm",
            id="the norm of some gradients",
        ),
        pytest.param(
            "plain_pytorch",
            "            loss.backward()\n",
            "            loss.backward()\n            optimizer.zero_grad(False)\n",
            "gradient at step 0",
            id="no gradient left",
        ),
    ],
)
def test_a_mistake_is_noticed(
    base: HooksConfig,
    half: str,
    right: str,
    wrong: str,
    first: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plant(monkeypatch, half, "hooks", right, wrong)
    with pytest.raises(AssertionError, match=first):
        assert_same(*run_both(replace(base, max_epochs=1)))


def test_a_closure_that_is_not_handed_on_is_an_error(
    base: HooksConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(
        monkeypatch, "lightning", "hooks", "step(closure=optimizer_closure)", "step()"
    )
    with pytest.raises(MisconfigurationException, match="closure hasn't been executed"):
        run_one("lightning", base)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--warmup-steps=0", "must be from 1"),
        ("--warmup-steps=-1", "must be from 1"),
        ("--warmup-steps=1.5", "1.5"),
        ("--decoder-learning-rate=1", "--decoder-learning-rate"),
    ],
)
def test_wrong_options_are_refused(
    arguments: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse_config(HooksConfig, "program", arguments=arguments.split())
    assert said in capsys.readouterr().err
