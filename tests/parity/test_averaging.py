"""Both halves validate and save the same averages, and Lightning's traps are real."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import (
    EarlyStopping,
    EMAWeightAveraging,
    ModelCheckpoint,
    StochasticWeightAveraging,
    WeightAveraging,
)
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

import plain_pytorch.averaging
from lightning.averaging import Data, Model
from shared.checkpoints.whole_files import write_checkpoint
from shared.model import AutoEncoder
from shared.options.averaging import Config as AveragingConfig
from shared.options.train import Config as TrainConfig
from shared.runtime.command import parse_config
from tests.parity.halves import Ran, assert_same, run_half

HALVES = ["plain_pytorch", "lightning"]
Weights = dict[str, Tensor]


@pytest.fixture
def options(small: TrainConfig) -> AveragingConfig:
    """Return the options of a run of three epochs of 12 steps."""
    return AveragingConfig(**vars(replace(small, max_epochs=3)))


@pytest.fixture
def batch_norm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a layer with buffers into the shared model."""
    init = AutoEncoder.__init__

    def init_with_batch_norm(self: AutoEncoder, *args: Any) -> None:
        init(self, *args)
        self.encoder.insert(1, nn.BatchNorm1d(64))

    monkeypatch.setattr(AutoEncoder, "__init__", init_with_batch_norm)


def run_same(config: AveragingConfig) -> Ran:
    """Run both halves, compare them and what they save, and return one run."""
    plain, lightning = (
        run_half(half, "averaging", config, config.output_dir / half) for half in HALVES
    )
    assert_same(plain, lightning)
    for name in ("best.ckpt", "last.ckpt"):
        mine, theirs = (load(config.output_dir / half, name) for half in HALVES)
        assert theirs.keys() - mine.keys() <= {
            "callbacks",
            "hparams_name",
            "loops",
            "lr_schedulers",
        }
        for key in ("state_dict", "current_model_state", "averaging_state"):
            assert same_weights(mine[key], theirs[key]), (name, key)
    return plain


def load(run_dir: Path, name: str) -> dict[str, Any]:
    """Return a checkpoint of a run."""
    return torch.load(run_dir / "checkpoints" / name, weights_only=True)


def same_weights(one: Weights, other: Weights) -> bool:
    """Return whether weights of the same names are equal to the last bit."""
    return one.keys() == other.keys() and all(
        torch.equal(one[name], other[name]) for name in one
    )


def epoch_ends(
    config: AveragingConfig, monkeypatch: pytest.MonkeyPatch
) -> list[Weights]:
    """Run the plain half; return the weights in training as each epoch ended."""
    states = []

    def recorded(path: Path, checkpoint: dict[str, Any]) -> None:
        if path.name == "last.ckpt":
            states.append(copy.deepcopy(checkpoint["current_model_state"]))
        write_checkpoint(path, checkpoint)

    monkeypatch.setattr(plain_pytorch.averaging, "write_checkpoint", recorded)
    run_half("plain_pytorch", "averaging", config, config.output_dir / "ends")
    return states


def mean(states: list[Weights]) -> Weights:
    """Return the mean of weights as torch's AveragedModel takes it."""
    model = AutoEncoder()
    averaged = AveragedModel(model)
    for state in states:
        model.load_state_dict(state)
        averaged.update_parameters(model)
    return averaged.module.state_dict()


def test_ema_is_validated_and_saved(options: AveragingConfig) -> None:
    run = run_same(options)
    last = load(options.output_dir / "plain_pytorch", "last.ckpt")
    assert not same_weights(last["state_dict"], last["current_model_state"])
    assert last["averaging_state"]["n_averaged"] == 3 * 12
    # The validation loss is that of the average.
    data = Data(options)
    data.setup("fit")
    model = AutoEncoder()
    model.load_state_dict(last["state_dict"])
    with torch.no_grad():
        loss_sum = torch.zeros(())
        for images, _ in data.val_dataloader():
            loss_sum += model.reconstruction_loss(images) * len(images)
    val_loss = (loss_sum / (3 * 64)).item()
    assert run.results["val_loss"][-1, 1].item() == val_loss


def test_mean_is_that_of_the_ends_of_the_epochs(
    options: AveragingConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(options, weight_averaging="mean")
    run_same(config)
    last = load(options.output_dir / "lightning", "last.ckpt")
    assert last["averaging_state"]["n_averaged"] == 3
    ends = epoch_ends(config, monkeypatch)
    assert same_weights(last["state_dict"], mean(ends))


@pytest.mark.usefixtures("dropout", "batch_norm")
def test_same_with_dropout_and_averaged_buffers(options: AveragingConfig) -> None:
    run_same(options)
    last = load(options.output_dir / "plain_pytorch", "last.ckpt")
    name = "encoder.1.running_mean"
    assert not last["state_dict"][name].equal(last["current_model_state"][name])


def test_another_rounding_is_noticed(
    options: AveragingConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lerp(decay: float) -> Any:
        return lambda averaged, current, _: averaged.lerp(current, 1 - decay)

    monkeypatch.setattr(plain_pytorch.averaging, "get_ema_avg_fn", lerp)
    with pytest.raises(AssertionError, match="evaluation at step 11"):
        run_same(replace(options, max_epochs=1))


@pytest.mark.usefixtures("dropout")
def test_an_average_left_in_training_mode_is_noticed(
    options: AveragingConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AveragedModel, "eval", lambda averaged: averaged)
    with pytest.raises(AssertionError, match="evaluation at step 11"):
        run_same(replace(options, max_epochs=1))


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [64, 50])  # a short last batch, none
@pytest.mark.parametrize("weight_averaging", ["ema", "mean"])
def test_same_on_the_5000_digits(
    options: AveragingConfig, weight_averaging: Any, batch_size: int
) -> None:
    config = replace(options, weight_averaging=weight_averaging, batch_size=batch_size)
    run_same(replace(config, limit_train_batches=None, limit_val_batches=None))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU here")
@pytest.mark.parametrize("weight_averaging", ["ema", "mean"])
def test_same_on_a_gpu(options: AveragingConfig, weight_averaging: Any) -> None:
    run_same(replace(options, accelerator="cuda", weight_averaging=weight_averaging))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--weight-averaging=median"], "median"),
        (["--decay=1.1"], "--decay 1.1: must be from 0 to 1"),
        (["--decay=nan"], "--decay nan: must be from 0 to 1"),
        (["--weight-averaging=mean", "--decay=0.9"], "is for --weight-averaging ema"),
    ],
)
def test_a_wrong_option_is_named(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse_config(AveragingConfig, "program", arguments=arguments)
    assert said in " ".join(capsys.readouterr().err.split())


# The traps that the lesson's page names, each in a Trainer of its own.


def fit(
    config: AveragingConfig, *callbacks: pl.Callback
) -> tuple[Model, pl.Trainer, list[Weights]]:
    """Train with a Trainer; return also the weights in training after each epoch."""

    class Recorder(pl.Callback):
        def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
            ends.append(copy.deepcopy(pl_module.state_dict()))

    ends: list[Weights] = []
    pl.seed_everything(config.seed, verbose=False)
    model = Model(config.hidden_dim, config.latent_dim, config.learning_rate)
    trainer = pl.Trainer(
        accelerator="cpu",
        logger=False,
        max_epochs=config.max_epochs,
        callbacks=[
            *callbacks,
            Recorder(),
            ModelCheckpoint(config.output_dir / "checkpoints", "last"),
        ],
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, datamodule=Data(config))
    return model, trainer, ends


def untrained(config: AveragingConfig) -> Weights:
    """Return the weights with which a run begins."""
    torch.manual_seed(config.seed)
    return AutoEncoder().state_dict()


@pytest.mark.slow
def test_lightnings_swa_misses_the_last_epoch_and_saves_no_average(
    options: AveragingConfig,
) -> None:
    config = replace(options, max_epochs=5)
    model, _, ends = fit(config, StochasticWeightAveraging(5e-4, swa_epoch_start=3))
    assert same_weights(model.state_dict(), mean(ends[1:4]))
    assert not same_weights(model.state_dict(), mean(ends[2:]))
    saved = load(config.output_dir, "last.ckpt")["state_dict"]
    assert same_weights(saved, ends[4])


@pytest.mark.slow
def test_lightnings_swa_is_lost_when_training_stops_early(
    options: AveragingConfig,
) -> None:
    swa = StochasticWeightAveraging(5e-4, swa_epoch_start=1)
    stop = EarlyStopping("val_loss", mode="max", patience=1)
    model, _, ends = fit(options, swa, stop)
    assert len(ends) == 2
    assert same_weights(model.state_dict(), ends[1])


@pytest.mark.slow
def test_lightnings_swa_that_never_begins_ends_untrained(
    options: AveragingConfig,
) -> None:
    config = replace(options, max_epochs=1)
    model, _, _ = fit(config, StochasticWeightAveraging(1e-3, swa_epoch_start=2))
    assert same_weights(model.state_dict(), untrained(config))


@pytest.mark.slow
@pytest.mark.usefixtures("batch_norm")
def test_lightnings_swa_takes_one_more_step_with_batch_norm(
    options: AveragingConfig,
) -> None:
    steps = []

    class Counter(pl.Callback):
        def on_before_optimizer_step(self, *arguments: Any) -> None:
            steps.append(arguments)

    config = replace(options, max_epochs=2)
    fit(config, StochasticWeightAveraging(5e-4, swa_epoch_start=2), Counter())
    assert len(steps) == 2 * 12 + 1


@pytest.mark.slow
def test_an_update_after_the_epoch_comes_after_validation(
    options: AveragingConfig,
) -> None:
    class Late(WeightAveraging):
        def should_update(
            self, step_idx: int | None = None, epoch_idx: int | None = None
        ) -> bool:
            return epoch_idx is not None

    class Validated(pl.Callback):
        def on_validation_batch_end(
            self, trainer: pl.Trainer, pl_module: Any, *arguments: Any
        ) -> None:
            if not trainer.sanity_checking:
                validated.append(copy.deepcopy(pl_module.state_dict()))

    validated: list[Weights] = []
    config = replace(options, max_epochs=1)
    model, _, ends = fit(config, Late(), Validated())
    assert same_weights(validated[0], untrained(config))
    assert same_weights(model.state_dict(), ends[0])


@pytest.mark.slow
def test_a_trainer_that_averages_tests_what_is_not_averaged(
    options: AveragingConfig,
) -> None:
    model, trainer, _ = fit(options, EMAWeightAveraging(decay=0.99))
    average = copy.deepcopy(model.state_dict())
    path = options.output_dir / "checkpoints" / "last.ckpt"
    trainer.validate(model, datamodule=Data(options), ckpt_path=path, weights_only=True)
    assert not same_weights(model.state_dict(), average)
    saved = load(options.output_dir, "last.ckpt")
    assert same_weights(model.state_dict(), saved["current_model_state"])
