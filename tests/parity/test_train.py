"""The core pair computes the same to the last bit, and these tests can fail."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

import lightning.train
import plain_pytorch.train
from shared.data import EpochSampler
from shared.model import AutoEncoder
from shared.options.train import Config as TrainConfig
from tests.parity.halves import Ran, assert_same, run_half


def run_both(config: TrainConfig) -> tuple[Ran, Ran]:
    plain = run_half("plain_pytorch", "train", config, config.output_dir / "plain")
    lightning = run_half("lightning", "train", config, config.output_dir / "lightning")
    return plain, lightning


@pytest.mark.parametrize("seed", [0, 42, 2**32 - 1])
@pytest.mark.parametrize(
    "batch_size", [64, 50]
)  # 4,000 images: a short last batch, none
def test_same_on_the_5000_digits(
    small: TrainConfig, seed: int, batch_size: int
) -> None:
    config = replace(
        small,
        seed=seed,
        batch_size=batch_size,
        max_epochs=3,
        limit_train_batches=None,
        limit_val_batches=None,
    )
    plain, lightning = run_both(config)
    # A short last batch counts.
    assert len(plain.trace.steps) == 3 * -(-4000 // batch_size)
    assert len(plain.trace.evaluations) == 3 * -(-500 // batch_size)
    assert_same(plain, lightning)


@pytest.mark.usefixtures("dropout")
def test_same_with_dropout(small: TrainConfig) -> None:
    assert_same(*run_both(replace(small, max_epochs=3)))


def test_same_with_workers(small: TrainConfig) -> None:
    assert_same(*run_both(replace(small, num_workers=2)))


def test_same_on_full_mnist(small: TrainConfig, mnist_dir: Path) -> None:
    config = replace(small, dataset="mnist", data_dir=mnist_dir)
    assert_same(*run_both(replace(config, limit_train_batches=200, max_epochs=1)))


@pytest.mark.slow
def test_same_on_full_mnist_for_three_epochs(
    small: TrainConfig, mnist_dir: Path
) -> None:
    config = replace(
        small,
        dataset="mnist",
        data_dir=mnist_dir,
        max_epochs=3,
        limit_train_batches=None,
        limit_val_batches=None,
    )
    assert_same(*run_both(config))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU here")
@pytest.mark.usefixtures("dropout")
def test_same_on_a_gpu(small: TrainConfig) -> None:
    assert_same(*run_both(replace(small, accelerator="cuda")))


@pytest.mark.parametrize("half", ["plain_pytorch", "lightning"])
def test_of_two_means_equal_in_32_bits_the_first_is_best(
    small: TrainConfig, half: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Validation losses of two batches of 50 in two epochs. The sums over the images
    # are one bit apart, the means over the 100 images only in 64 bits.
    losses = torch.tensor([[1.0, 1.1000008583068848], [1.0, 1.1000007390975952]])
    sums = losses[:, 0] * 50 + losses[:, 1] * 50
    assert sums[0] > sums[1]
    assert torch.equal(sums[0] / 100, sums[1] / 100)
    reconstruction_loss = AutoEncoder.reconstruction_loss
    epoch, batch = 0, 0

    def prescribed(model: AutoEncoder, images: Tensor) -> Tensor:
        nonlocal epoch, batch
        loss = reconstruction_loss(model, images)
        if loss.requires_grad:
            epoch, batch = epoch + 1, 0
            return loss
        batch += 1
        return losses[max(epoch, 1) - 1, (batch - 1) % 2]

    monkeypatch.setattr(AutoEncoder, "reconstruction_loss", prescribed)
    config = replace(small, batch_size=50, limit_train_batches=1, limit_val_batches=2)
    run_half(half, "train", config, config.output_dir)
    checkpoints = config.output_dir / "checkpoints"
    assert torch.load(checkpoints / "best.ckpt", weights_only=True)["epoch"] == 0
    assert torch.load(checkpoints / "last.ckpt", weights_only=True)["epoch"] == 1


def test_two_runs_of_one_half_are_the_same(small: TrainConfig) -> None:
    first = run_half("plain_pytorch", "train", small, small.output_dir / "first")
    second = run_half("plain_pytorch", "train", small, small.output_dir / "second")
    assert_same(first, second)


def test_another_seed_is_another_run(small: TrainConfig) -> None:
    first = run_half("plain_pytorch", "train", small, small.output_dir / "first")
    other = replace(small, seed=small.seed + 1)
    second = run_half("plain_pytorch", "train", other, small.output_dir / "second")
    with pytest.raises(AssertionError, match="batch at step 0"):
        assert_same(first, second)


MODELS = {
    "plain_pytorch": plain_pytorch.train.Model,
    "lightning": lightning.train.Model,
}


class NeverZeroed(torch.optim.Adam):
    """Forgets nothing: every gradient is added to those before it."""

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Leave the gradients as they are."""


@pytest.mark.parametrize("half", MODELS)
def test_a_forgotten_zero_grad_is_noticed(
    small: TrainConfig, half: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        MODELS[half],
        "configure_optimizers",
        lambda model: NeverZeroed(model.parameters(), lr=1e-3),
    )
    with pytest.raises(AssertionError, match="gradient at step 1"):
        assert_same(*run_both(small))


@pytest.mark.usefixtures("dropout")
@pytest.mark.parametrize("half", MODELS)
def test_a_forgotten_eval_mode_is_noticed(
    small: TrainConfig, half: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MODELS[half], "eval", lambda model: model)
    with pytest.raises(AssertionError, match="evaluation at step 11"):
        assert_same(*run_both(small))


@pytest.mark.parametrize("half", MODELS)
def test_another_order_is_noticed(
    small: TrainConfig, half: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        # Epoch 0 comes out as ever, epoch 1 in the order of epoch 0.
        patch.setattr(EpochSampler, "set_epoch", lambda sampler, epoch: None)
        changed = run_half(half, "train", small, small.output_dir / "changed")
    (other,) = MODELS.keys() - {half}
    with pytest.raises(AssertionError, match="batch at step 12"):
        assert_same(
            changed, run_half(other, "train", small, small.output_dir / "other")
        )
