"""The lesson clipping limits the gradient by norm and by value in both halves."""

from dataclasses import replace

import pytest
import torch

from shared.options.clipping import Config as ClippingConfig
from shared.options.train import Config as TrainConfig
from shared.runtime.command import parse_config
from tests.parity.halves import Ran, assert_same, run_half
from tests.parity.planted import plant

HALVES = ("plain_pytorch", "lightning")


@pytest.fixture(params=["norm", "value"])
def clipped(request: pytest.FixtureRequest, small: TrainConfig) -> ClippingConfig:
    """Return the options of a run that clips by norm, and those of one by value."""
    config = ClippingConfig(**vars(small), gradient_clip_algorithm=request.param)
    limit = {"norm": 0.05, "value": 1e-3}[request.param]
    return replace(config, gradient_clip_val=limit)


def run_one(half: str, config: ClippingConfig) -> Ran:
    return run_half(half, "clipping", config, config.output_dir / half)


def run_both(config: ClippingConfig) -> tuple[Ran, Ran]:
    plain, lightning = (run_one(half, config) for half in HALVES)
    return plain, lightning


def test_same_and_clipped(small: TrainConfig, clipped: ClippingConfig) -> None:
    plain, lightning = run_both(clipped)
    assert_same(plain, lightning)
    free = run_half("plain_pytorch", "train", small, small.output_dir / "train")
    first, first_free = plain.trace.steps[0], free.trace.steps[0]
    assert first.loss == first_free.loss
    assert first.gradient.norm < first_free.gradient.norm
    if clipped.gradient_clip_algorithm == "norm":
        norms = [step.gradient.norm for step in plain.trace.steps]
        assert norms == pytest.approx([0.05] * 24, rel=1e-4)


def test_a_limit_that_no_gradient_reaches_changes_nothing(
    small: TrainConfig, clipped: ClippingConfig
) -> None:
    train = run_half("plain_pytorch", "train", small, small.output_dir / "train")
    assert_same(train, run_one("plain_pytorch", replace(clipped, gradient_clip_val=9)))


@pytest.mark.slow
def test_same_on_all_of_the_5000_digits(clipped: ClippingConfig) -> None:
    plain, lightning = run_both(replace(clipped, limit_train_batches=None))
    assert_same(plain, lightning)
    assert len(plain.results["train_loss"]) == 12  # points of the curve


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU here")
def test_same_on_a_gpu(clipped: ClippingConfig) -> None:
    assert_same(*run_both(replace(clipped, accelerator="cuda")))


NORM = 'if config.gradient_clip_algorithm == "norm":'
LIMIT = "gradient_clip_val=config.gradient_clip_val"


@pytest.mark.parametrize(
    ("half", "right", "wrong"),
    [
        pytest.param("lightning", LIMIT, "gradient_clip_val=None", id="forgotten"),
        pytest.param("lightning", LIMIT, f"{LIMIT} * 1.001", id="another limit"),
        pytest.param("plain_pytorch", NORM, NORM.replace("==", "!="), id="exchanged"),
        pytest.param(
            "plain_pytorch",
            "# Clipping: between backward and step.",
            "optimizer.step()",
            id="a step before it",
        ),
    ],
)
def test_a_mistake_is_noticed(
    clipped: ClippingConfig,
    half: str,
    right: str,
    wrong: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plant(monkeypatch, half, "clipping", right, wrong)
    with pytest.raises(AssertionError, match="gradient at step 0"):
        assert_same(*run_both(replace(clipped, limit_train_batches=2, max_epochs=1)))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--gradient-clip-val=0", "must be above 0"),
        ("--gradient-clip-val=-1", "must be above 0"),
        ("--gradient-clip-val=nan", "must be above 0"),
        ("--gradient-clip-val=inf", "must be above 0"),
        ("--gradient-clip-val=None", "--gradient-clip-val"),
        ("--gradient-clip-algorithm=both", "both"),
        ("--accumulate-grad-batches=4", "--accumulate-grad-batches"),
    ],
)
def test_wrong_options_are_refused(
    arguments: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse_config(ClippingConfig, "program", arguments=arguments.split())
    assert said in capsys.readouterr().err
