"""Both halves draw the same pictures, in the same epochs."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from shared.data import MNISTData
from shared.model import AutoEncoder
from shared.options.callback import Config as CallbackConfig
from shared.options.train import Config as TrainConfig
from shared.pictures.pictures import reconstruction_grid
from shared.runtime.command import parse_config
from tests.parity.halves import Ran, assert_same, run_half

HALVES = ["plain_pytorch", "lightning"]


@pytest.fixture
def options(small: TrainConfig) -> CallbackConfig:
    """Return the options of a run of four epochs of 12 steps."""
    return CallbackConfig(**vars(replace(small, max_epochs=4)))


def run_same(config: CallbackConfig) -> Ran:
    """Run both halves, compare them and their pictures, and return one run."""
    plain, lightning = (
        run_half(half, "callback", config, config.output_dir / half) for half in HALVES
    )
    assert_same(plain, lightning)
    return plain


def pictures(run: Ran) -> dict[str, Tensor]:
    """Return the pixels of the pictures of a run, by tag and step."""
    return {name: pixels for name, pixels in run.results.items() if ", step" in name}


@pytest.mark.usefixtures("dropout")
def test_a_picture_every_second_epoch(options: CallbackConfig) -> None:
    drawn = pictures(run_same(replace(options, every_n_epochs=2)))
    assert [*drawn] == ["reconstructions, step 23", "reconstructions, step 47"]
    one, other = drawn.values()
    assert not one.equal(other)


def test_the_picture_shows_what_the_model_makes_of_the_first_images(
    options: CallbackConfig,
) -> None:
    config = replace(options, every_n_epochs=2, max_epochs=2)
    run = run_half("lightning", "callback", config, config.output_dir)
    (drawn,) = pictures(run).values()
    last = torch.load(
        config.output_dir / "checkpoints" / "last.ckpt", weights_only=True
    )
    model = AutoEncoder()
    model.load_state_dict(last["state_dict"])
    data = MNISTData(config)
    data.setup("fit")
    images, _ = next(iter(data.val_dataloader()))
    with torch.no_grad():
        grid = reconstruction_grid(model, images[:8])
    assert drawn.equal((grid * 255).clip(0, 255).byte().permute(1, 2, 0))


def test_no_picture_is_drawn_before_its_epoch(options: CallbackConfig) -> None:
    assert not pictures(run_same(replace(options, every_n_epochs=9, max_epochs=1)))


@pytest.mark.parametrize("half", HALVES)
def test_another_pixel_is_noticed(
    options: CallbackConfig, half: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def changed(model: AutoEncoder, images: Tensor) -> Tensor:
        grid = reconstruction_grid(model, images)
        grid[:, 40, 40] = 1 - grid[:, 40, 40].round()
        return grid

    monkeypatch.setattr(f"{half}.callback.reconstruction_grid", changed)
    with pytest.raises(AssertionError, match="reconstructions, step 11"):
        run_same(replace(options, max_epochs=1))


@pytest.mark.slow
def test_same_on_the_5000_digits_with_workers(options: CallbackConfig) -> None:
    config = replace(options, limit_train_batches=None, limit_val_batches=None)
    assert len(pictures(run_same(replace(config, num_workers=2)))) == 4


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU here")
def test_same_on_a_gpu(options: CallbackConfig) -> None:
    assert pictures(run_same(replace(options, accelerator="cuda")))


def test_a_wrong_option_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse_config(CallbackConfig, "program", arguments=["--every-n-epochs=0"])
    assert "--every-n-epochs 0: must be from 1" in capsys.readouterr().err
