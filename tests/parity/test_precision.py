"""The lesson precision computes the same in both halves, in every precision."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
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

import lightning.precision
import plain_pytorch.precision
from lightning.train import LitMNIST, make_trainer
from plain_pytorch import train
from shared.checkpoints.whole_files import load_weights, read_checkpoint
from shared.data import MNISTData
from shared.model import AutoEncoder
from shared.options.precision import PrecisionConfig
from shared.options.train import TrainConfig
from shared.runtime.errors import UsageError
from tests.parity.halves import Ran, assert_same, run_half
from tests.processes import ROOT

HALVES = ("plain_pytorch", "lightning")
OVERFLOWS = 2.0**24
"""A loss scale that makes the first gradients infinite, and is halved a few times."""
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed", "bf16-true")


@pytest.fixture
def base(small: TrainConfig) -> PrecisionConfig:
    """Return the options of a run of 12 batches."""
    return PrecisionConfig(**{**vars(small), "max_epochs": 1, "hidden_dim": 16})


@pytest.fixture(autouse=True)
def float16_on_a_cpu(request: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let both halves take float16 where there is no GPU: torch can, slowly.

    A Trainer takes bfloat16 there when it is told to by name, but not when it is given
    the plugin itself.
    """
    if "gpu" in request.keywords or "refused" in request.node.name:
        return
    of_the_lesson = lightning.precision.make_trainer

    def with_scaler(config: PrecisionConfig, run_dir: Path) -> pl.Trainer:
        trainer = of_the_lesson(config, run_dir)
        if config.precision == "16-mixed":
            trainer.strategy.precision_plugin = MixedPrecision("16-mixed", "cpu")
        return trainer

    monkeypatch.setattr(lightning.precision, "make_trainer", with_scaler)
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


def checkpoints(config: PrecisionConfig, name: str = "last") -> list[dict[str, Any]]:
    return [
        read_checkpoint(config.output_dir / half / "checkpoints" / f"{name}.ckpt")
        for half in HALVES
    ]


def dtypes(state: Any) -> set[torch.dtype]:
    """Return those of all tensors but Adam's step count."""
    return {value.dtype for value in state if value.dim() > 0}


@pytest.mark.parametrize("clip", [None, 0.05])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_same(base: PrecisionConfig, precision: Any, clip: float | None) -> None:
    # A short batch comes last: 4,000 images in batches of 333.
    config = replace(base, precision=precision, gradient_clip_val=clip)
    config = replace(config, batch_size=333, limit_train_batches=None)
    plain, lightning = run_both(config)
    assert_same(plain, lightning)
    assert len(plain.trace.steps) == 13
    mixed = {"bf16-mixed": "bfloat16", "16-mixed": "float16"}.get(precision)
    weights = "bfloat16" if precision == "bf16-true" else "float32"
    expected = f"{weights} autocast {mixed}" if mixed else weights
    assert {step.precision for step in plain.trace.steps} == {expected}
    norms = [step.gradient.norm for step in plain.trace.steps]
    assert (max(norms) > 0.06) == (clip is None)
    for one in checkpoints(config):
        assert {str(t) for t in dtypes(one["state_dict"].values())} == {
            f"torch.{weights}"
        }
        for adam in one["optimizer_states"][0]["state"].values():
            assert {str(t) for t in dtypes(adam.values())} == {f"torch.{weights}"}
        assert ("MixedPrecision" in one) == (precision == "16-mixed")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU here")
@pytest.mark.parametrize("clip", [None, 0.05])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_same_on_a_gpu(
    base: PrecisionConfig, precision: Any, clip: float | None
) -> None:
    config = replace(base, accelerator="cuda", precision=precision)
    assert_same(*run_both(replace(config, gradient_clip_val=clip)))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU here")
@pytest.mark.parametrize("precision", PRECISIONS)
def test_compiled_halves_are_the_same_on_a_gpu(
    base: PrecisionConfig, precision: Any
) -> None:
    config = replace(base, accelerator="cuda", precision=precision, compile=True)
    plain = run_one("plain_pytorch", config)
    torch.compiler.reset()
    assert_same(plain, run_one("lightning", config))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU here")
def test_steps_are_skipped_alike_on_a_gpu(
    base: PrecisionConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    scale_from(monkeypatch, OVERFLOWS)
    config = replace(base, accelerator="cuda", precision="16-mixed")
    assert_same(*run_both(config))


@pytest.mark.parametrize("half", HALVES)
def test_32_bits_are_those_of_train(base: PrecisionConfig, half: str) -> None:
    train = run_half(half, "train", base, base.output_dir / "train")
    assert_same(run_one(half, replace(base, precision="32-true")), train)


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


def test_a_trainer_goes_on_with_the_scale_of_the_other_half(
    base: PrecisionConfig,
) -> None:
    config = replace(base, precision="16-mixed", limit_train_batches=2)
    run_one("plain_pytorch", config)
    path = config.output_dir / "plain_pytorch" / "checkpoints" / "last.ckpt"
    plugin = MixedPrecision("16-mixed", "cpu")
    plugin.load_state_dict(read_checkpoint(path)["MixedPrecision"])
    assert plugin.state_dict()["_growth_tracker"] == 2


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_each_half_tests_the_other_ones_checkpoint(
    base: PrecisionConfig, precision: Any
) -> None:
    config = replace(base, precision=precision)
    plain, _ = run_both(config)
    expected = plain.results["test_loss"][0, 1].item()
    paths = [config.output_dir / half / "checkpoints" / "best.ckpt" for half in HALVES]
    model = plain_pytorch.precision.make_model(config)
    load_weights(model, read_checkpoint(paths[1]), paths[1])
    data = MNISTData(config)
    data.prepare_data()
    folder = base.output_dir / "events"
    assert plain_pytorch.precision.test(model, data, config, folder, 0) == expected
    trainer = lightning.precision.make_trainer(config, base.output_dir / "trainer")
    (logged,) = trainer.test(
        lightning.precision.make_model(config),
        datamodule=LitMNIST(config),
        ckpt_path=paths[0],
        weights_only=True,
    )
    assert logged["test_loss"] == expected


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "bf16-true"])
def test_compiled_halves_are_the_same(base: PrecisionConfig, precision: Any) -> None:
    config = replace(base, precision=precision, gradient_clip_val=0.05)
    config = replace(config, batch_size=333, limit_train_batches=None)
    compiled = replace(config, compile=True, output_dir=config.output_dir / "compiled")
    eager = run_one("plain_pytorch", config)
    torch.compiler.reset()  # it gives a function up that is compiled for many models
    plain = run_one("plain_pytorch", compiled)
    torch.compiler.reset()
    assert_same(plain, run_one("lightning", compiled))
    # It joins and reorders what is rounded: other last bits than without.
    with pytest.raises(AssertionError, match=r"at step \d"):
        assert_same(plain, eager)
    losses = [ran.results["test_loss"][0, 1].item() for ran in (plain, eager)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-2)
    for one in checkpoints(compiled):
        assert one["state_dict"].keys() == AutoEncoder().state_dict().keys()


@pytest.mark.slow
@pytest.mark.parametrize("half", HALVES)
def test_without_a_compiler_one_line_says_so(
    small: TrainConfig, tmp_path: Path, half: str
) -> None:
    cache = str(tmp_path / "cache")
    process = subprocess.run(
        [sys.executable, "-m", f"{half}.precision", "--compile", *small.to_arguments()],
        cwd=ROOT,
        env={**os.environ, "CXX": "no-compiler", "TORCHINDUCTOR_CACHE_DIR": cache},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 1
    assert "Traceback" not in process.stderr
    assert "No working C++ compiler" in process.stderr
    assert "leave out --compile" in process.stderr


def test_float16_is_refused_without_a_gpu(small: TrainConfig) -> None:
    with pytest.raises(UsageError, match="needs a GPU: take bf16-mixed"):
        PrecisionConfig(**vars(small), precision="16-mixed")
    # A Trainer only warns.
    with pytest.warns(UserWarning, match="fp16 is not supported on CPU"):
        trainer = make_trainer(small, small.output_dir, precision="16-mixed")
    assert trainer.precision == "bf16-mixed"


def clip_first(monkeypatch: pytest.MonkeyPatch) -> None:
    unscale = GradScaler.unscale_

    def clip_and_unscale(scaler: GradScaler, optimizer: Optimizer) -> None:
        clip_grad_norm_(optimizer.param_groups[0]["params"], 0.05)
        unscale(scaler, optimizer)

    monkeypatch.setattr(GradScaler, "unscale_", clip_and_unscale)


def sum_in_16_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    widen = Tensor.float

    def pixels_only(tensor: Tensor) -> Tensor:
        return tensor if tensor.is_floating_point() else widen(tensor)

    monkeypatch.setattr(Tensor, "float", pixels_only)


def evaluate_as_train_does(monkeypatch: pytest.MonkeyPatch) -> None:
    def evaluate(*args: Any) -> float:
        return train.evaluate(*args[:-1])  # without the config

    monkeypatch.setattr(plain_pytorch.precision, "evaluate", evaluate)


def scale_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    scale_from(monkeypatch, OVERFLOWS)


@pytest.mark.parametrize(
    ("mistake", "options", "first"),
    [
        (clip_first, {"precision": "16-mixed", "gradient_clip_val": 0.05}, "gradient"),
        # Times 64 would only move the exponent.
        (
            sum_in_16_bits,
            {"precision": "bf16-true", "batch_size": 60},
            "val_loss",
        ),
        (evaluate_as_train_does, {"precision": "bf16-mixed"}, "evaluation at step 11"),
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
