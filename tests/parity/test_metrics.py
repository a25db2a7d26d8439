"""Both halves of the lesson metrics measure the same, per step and per epoch."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torchmetrics import MeanMetric

import lightning.metrics
from shared.data import Batch
from shared.options.train import Config as TrainConfig
from tests.parity.halves import Ran, assert_same, run_half

ROOT = Path(__file__).parents[2]
TAGS = ("train_loss_step", "train_loss_epoch", "val_loss", "val_psnr")


def run_both(config: TrainConfig) -> tuple[Ran, Ran]:
    plain = run_half("plain_pytorch", "metrics", config, config.output_dir / "plain")
    lightning = run_half(
        "lightning", "metrics", config, config.output_dir / "lightning"
    )
    return plain, lightning


def with_a_short_batch(small: TrainConfig) -> TrainConfig:
    """Return the options of 14 steps an epoch: 13 of 300 images, and one of 100."""
    return replace(
        small, batch_size=300, limit_train_batches=None, limit_val_batches=None
    )


def test_both_measure_the_same_and_show_it(
    small: TrainConfig,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "300")  # room for the whole bar
    config = replace(small, limit_train_batches=24)
    plain = run_half("plain_pytorch", "metrics", config, config.output_dir / "plain")
    printed, bars = capfd.readouterr()
    last = plain.results["val_psnr"][-1, 1].item()
    assert f"val_psnr: {last:.6f}" in printed
    assert "train_loss_step=" in bars

    lightning = run_half("lightning", "metrics", config, config.output_dir / "pl")
    bars = "".join(capfd.readouterr())
    for tag in TAGS:
        assert f"{tag}=" in bars

    assert_same(plain, lightning)
    steps = {tag: plain.results[tag][:, 0].tolist() for tag in TAGS}
    assert steps["train_loss_step"] == [9, 19, 29, 39]
    assert steps["train_loss_epoch"] == steps["val_loss"] == [23, 47]
    assert steps["val_psnr"] == [23, 47]


@pytest.mark.usefixtures("dropout")
def test_the_numbers_are_what_they_are_called(small: TrainConfig) -> None:
    plain, lightning = run_both(with_a_short_batch(small))
    assert_same(plain, lightning)
    steps = plain.trace.steps
    losses = torch.tensor([step.loss[0] for step in steps])
    for step, loss in plain.results["train_loss_step"].tolist():
        assert loss == losses[int(step)].item()
    sizes = torch.tensor([300.0] * 13 + [100.0])
    means = (losses.view(2, 14) * sizes).sum(dim=1) / sizes.sum()
    curve = plain.results["train_loss_epoch"][:, 1].tolist()
    assert curve == pytest.approx(means.tolist())
    # The mean of all pixels' squared errors; from black to white are 2.
    decibels = 10 * torch.log10(4 / plain.results["val_loss"][:, 1])
    curve = plain.results["val_psnr"][:, 1].tolist()
    assert curve == pytest.approx(decibels.tolist())


def test_no_metric_is_in_a_checkpoint(small: TrainConfig) -> None:
    for half in ("plain_pytorch", "lightning"):
        run_half(half, "metrics", small, small.output_dir / half)
        path = small.output_dir / half / "checkpoints" / "last.ckpt"
        names = torch.load(path, weights_only=True)["state_dict"]
        assert {name.partition(".")[0] for name in names} == {"encoder", "decoder"}


def test_a_mean_over_batches_is_noticed(
    small: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def validation_step(
        model: lightning.metrics.Model, batch: Batch, batch_idx: int
    ) -> Tensor:
        images, _ = batch
        reconstructions = model.decoder(model(images)).view_as(images)
        loss = torch.nn.functional.mse_loss(reconstructions, images)
        psnr = model.val_psnr(reconstructions, images)
        model.log_dict({"val_loss": loss, "val_psnr": psnr})
        return loss

    monkeypatch.setattr(lightning.metrics.Model, "validation_step", validation_step)
    with pytest.raises(AssertionError, match="val_psnr"):
        assert_same(*run_both(small))


def test_a_mean_that_is_not_weighted_is_noticed(
    small: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Unweighted(MeanMetric):
        def update(self, value: Any, weight: Any = 1) -> None:
            super().update(value)

    monkeypatch.setattr("plain_pytorch.metrics.MeanMetric", Unweighted)
    with pytest.raises(AssertionError, match="train_loss_epoch"):
        assert_same(*run_both(with_a_short_batch(small)))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU here")
def test_same_on_a_gpu(small: TrainConfig) -> None:
    assert_same(*run_both(replace(small, accelerator="cuda")))


@pytest.mark.slow
def test_torchmetrics_brings_no_lightning() -> None:
    code = (
        "import sys, plain_pytorch.metrics; 'pytorch_lightning' in sys.modules and 1/0"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
