"""The lesson precision computes the same in both halves, in both kinds of 16 bits."""

from dataclasses import replace
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins import MixedPrecision
from torch import Tensor
from torch.amp import GradScaler
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer

import plain_pytorch.precision
from shared.checkpoints.whole_files import read_checkpoint
from shared.model import AutoEncoder
from shared.options.precision import Config as PrecisionConfig
from shared.options.train import Config as TrainConfig
from shared.runtime.errors import UsageError
from tests.parity.halves import Ran, assert_same, run_half

HALVES = ("plain_pytorch", "lightning")
OVERFLOWS = 2.0**24
"""A loss scale that makes the first gradients infinite, and is halved a few times."""


@pytest.fixture
def base(small: TrainConfig) -> PrecisionConfig:
    """Return the options of a run of 12 batches."""
    return PrecisionConfig(**{**vars(small), "max_epochs": 1, "hidden_dim": 16})


@pytest.fixture
def float16_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let both halves take float16 where there is no GPU: torch can, slowly.

    A Trainer takes bfloat16 there when it is told to by name, but not when it is given
    the plugin itself.
    """
    trainer = pl.Trainer

    def with_plugin(precision: Any, **arguments: Any) -> pl.Trainer:
        if precision == "bf16-mixed":
            return trainer(precision=precision, **arguments)
        return trainer(plugins=MixedPrecision("16-mixed", "cpu"), **arguments)

    monkeypatch.setattr(pl, "Trainer", with_plugin)
    monkeypatch.setattr(PrecisionConfig, "__post_init__", lambda config: None)


def scale_from(monkeypatch: pytest.MonkeyPatch, scale: float) -> None:
    """Let every gradient scaler begin with this scale."""
    init: Any = GradScaler.__init__
    device, _, *others = init.__defaults__
    monkeypatch.setattr(init, "__defaults__", (device, scale, *others))


def run_one(half: str, config: PrecisionConfig) -> Ran:
    return run_half(half, "precision", config, config.output_dir / half)


def run_both(config: PrecisionConfig) -> tuple[Ran, Ran]:
    plain, lightning = (run_one(half, config) for half in HALVES)
    return plain, lightning


def checkpoints(config: PrecisionConfig) -> list[dict[str, Any]]:
    return [
        read_checkpoint(config.output_dir / half / "checkpoints" / "last.ckpt")
        for half in HALVES
    ]


@pytest.mark.usefixtures("float16_on_a_cpu")
@pytest.mark.parametrize("clip", [None, 0.05])
@pytest.mark.parametrize(
    ("precision", "dtype"), [("bf16-mixed", "bfloat16"), ("16-mixed", "float16")]
)
def test_same(
    base: PrecisionConfig, precision: Any, dtype: str, clip: float | None
) -> None:
    # A short batch comes last: 4,000 images in batches of 333.
    config = replace(base, precision=precision, gradient_clip_val=clip)
    config = replace(config, batch_size=333, limit_train_batches=None)
    plain, lightning = run_both(config)
    assert_same(plain, lightning)
    assert len(plain.trace.steps) == 13
    precisions = {step.precision for step in plain.trace.steps}
    assert precisions == {(f"float32 autocast {dtype}",)}
    norms = [step.gradient.norm for step in plain.trace.steps]
    assert (max(norms) > 0.06) == (clip is None)
    for one in checkpoints(config):
        assert {weight.dtype for weight in one["state_dict"].values()} == {
            torch.float32
        }
        for adam in one["optimizer_states"][0]["state"].values():
            assert adam["exp_avg"].dtype == torch.float32
        assert bool(one.get("MixedPrecision")) == (precision == "16-mixed")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU here")
@pytest.mark.parametrize("clip", [None, 0.05])
@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_same_on_a_gpu(
    base: PrecisionConfig, precision: Any, clip: float | None
) -> None:
    config = replace(base, accelerator="cuda", precision=precision)
    assert_same(*run_both(replace(config, gradient_clip_val=clip)))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU here")
def test_steps_are_skipped_alike_on_a_gpu(
    base: PrecisionConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    scale_from(monkeypatch, OVERFLOWS)
    config = replace(base, accelerator="cuda", precision="16-mixed")
    assert_same(*run_both(config))


@pytest.mark.usefixtures("float16_on_a_cpu")
def test_steps_that_overflow_are_skipped_alike(
    base: PrecisionConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    scale_from(monkeypatch, OVERFLOWS)
    config = replace(base, precision="16-mixed", gradient_clip_val=0.05)
    plain, lightning = run_both(config)
    assert_same(plain, lightning)
    taken = len(plain.trace.steps)
    assert 0 < taken < 12
    one, other = checkpoints(config)
    assert one["MixedPrecision"] == other["MixedPrecision"]
    assert one["MixedPrecision"]["scale"] == OVERFLOWS / 2 ** (12 - taken)
    # A batch counts, skipped or not; Adam counts what it was called for.
    assert one["global_step"] == other["global_step"] == 12
    for both in (one, other):
        assert both["optimizer_states"][0]["state"][0]["step"] == taken


@pytest.mark.usefixtures("float16_on_a_cpu")
def test_a_trainer_reads_the_scale_of_the_other_half(base: PrecisionConfig) -> None:
    config = replace(base, precision="16-mixed", limit_train_batches=2)
    run_one("plain_pytorch", config)
    path = config.output_dir / "plain_pytorch" / "checkpoints" / "last.ckpt"
    plugin = MixedPrecision("16-mixed", "cpu")
    plugin.load_state_dict(read_checkpoint(path)["MixedPrecision"])
    assert plugin.state_dict()["_growth_tracker"] == 2


def test_float16_is_refused_without_a_gpu(small: TrainConfig) -> None:
    with pytest.raises(UsageError, match="needs a GPU: take bf16-mixed"):
        PrecisionConfig(**vars(small), precision="16-mixed")
    # A Trainer only warns.
    with pytest.warns(UserWarning, match="fp16 is not supported on CPU"):
        trainer = pl.Trainer(accelerator="cpu", precision="16-mixed", logger=False)
    assert trainer.precision == "bf16-mixed"


def test_a_negative_norm_is_refused(small: TrainConfig) -> None:
    with pytest.raises(UsageError, match="--gradient-clip-val -1: must be"):
        PrecisionConfig(**vars(small), gradient_clip_val=-1)


def clip_first(monkeypatch: pytest.MonkeyPatch) -> None:
    unscale = GradScaler.unscale_

    def clip_and_unscale(scaler: GradScaler, optimizer: Optimizer) -> None:
        clip_grad_norm_(optimizer.param_groups[0]["params"], 0.05)
        unscale(scaler, optimizer)

    monkeypatch.setattr(GradScaler, "unscale_", clip_and_unscale)


def validate_in_32_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    step = plain_pytorch.precision.Model.validation_step

    def outside(*arguments: Any) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            return step(*arguments)

    monkeypatch.setattr(plain_pytorch.precision.Model, "validation_step", outside)


def scale_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    scale_from(monkeypatch, OVERFLOWS)


@pytest.mark.usefixtures("float16_on_a_cpu")
@pytest.mark.parametrize(
    ("mistake", "options", "first"),
    [
        (clip_first, {"precision": "16-mixed", "gradient_clip_val": 0.05}, "gradient"),
        (validate_in_32_bits, {"precision": "bf16-mixed"}, "evaluation at step 11"),
        (scale_otherwise, {"precision": "16-mixed"}, "batch at step 0"),
    ],
)
def test_a_mistake_is_noticed(
    base: PrecisionConfig,
    monkeypatch: pytest.MonkeyPatch,
    mistake: Any,
    options: dict[str, Any],
    first: str,
) -> None:
    config = replace(base, **options)
    lightning = run_one("lightning", config)
    mistake(monkeypatch)
    with pytest.raises(AssertionError, match=first):
        assert_same(run_one("plain_pytorch", config), lightning)


@pytest.mark.parametrize("target", [torch.float32, torch.bfloat16])
def test_a_loss_outside_autocast_is_as_exact_as_its_target(
    base: PrecisionConfig, monkeypatch: pytest.MonkeyPatch, target: torch.dtype
) -> None:
    right = run_one("lightning", base)

    def outside(model: AutoEncoder, images: Tensor) -> Tensor:
        reconstructions = model.decoder(model(images))
        with torch.autocast("cpu", enabled=False):
            return F.mse_loss(reconstructions, images.flatten(1).to(target))

    monkeypatch.setattr(AutoEncoder, "reconstruction_loss", outside)
    wrong = run_one("plain_pytorch", base)
    if target is torch.float32:  # the images are: mse_loss widens what it is given
        assert_same(wrong, right)
    else:
        with pytest.raises(AssertionError, match="loss at step 0"):
            assert_same(wrong, right)
