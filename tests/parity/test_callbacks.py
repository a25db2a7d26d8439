"""What happens between the epochs is the same in both halves, to the last bit."""

import copy
from dataclasses import replace
from math import inf, nan
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_lightning.trainer.states import TrainerFn
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

import plain_pytorch.callbacks
from lightning.callbacks import LitScheduledAutoEncoder, callbacks_for
from lightning.train import LitMNIST, make_trainer
from plain_pytorch.callbacks import EarlyStopping
from shared.checkpoints.whole_files import write_checkpoint
from shared.model import AutoEncoder
from shared.options.callbacks import CallbacksConfig
from shared.options.train import Parser, TrainConfig
from shared.runtime.errors import UsageError
from tests.parity.halves import Ran, assert_same, run_half
from tests.processes import run_forked

HALVES = ["plain_pytorch", "lightning"]


@pytest.fixture
def options(small: TrainConfig) -> CallbacksConfig:
    """Return the options of a run of five short epochs."""
    return CallbacksConfig(**vars(replace(small, max_epochs=5)))


def run_both(config: CallbacksConfig) -> tuple[Ran, Ran]:
    plain, lightning = (
        run_half(half, "callbacks", config, config.output_dir / half) for half in HALVES
    )
    return plain, lightning


def assert_both_same(config: CallbacksConfig) -> Ran:
    """Run both halves, compare all they computed and saved, and return one run."""
    plain, lightning = run_both(config)
    assert_same(plain, lightning)
    folders = [config.output_dir / half for half in HALVES]
    names, others = (
        {path.name for path in folder.glob("checkpoints/*")} for folder in folders
    )
    assert names == others
    for name in names:
        mine, theirs = (load(folder, name) for folder in folders)
        assert theirs.keys() - mine.keys() == {"callbacks", "loops", "hparams_name"}
        assert not mine.keys() - theirs.keys()
        for key in mine:
            assert same_state(mine[key], theirs[key]), (name, key)
    drawn, drawn_too = (pictures(folder) for folder in folders)
    assert drawn == drawn_too
    return plain


def load(run_dir: Path, name: str) -> dict[str, Any]:
    """Return a checkpoint of a run."""
    return torch.load(run_dir / "checkpoints" / name, weights_only=True)


def same_state(one: Any, other: Any) -> bool:
    """Return whether nested dicts and lists are equal, their tensors to the bit."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(
            same_state(one[key], other[key]) for key in one
        )
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same_state, one, other))
    return torch.equal(one, other) if isinstance(one, Tensor) else one == other


def pictures(run_dir: Path) -> list[tuple[int, bytes]]:
    """Return the step and the PNG of every picture of reconstructions."""
    events = EventAccumulator(str(run_dir), size_guidance={"images": 0}).Reload()
    return [
        (image.step, image.encoded_image_string)
        for image in events.Images("reconstructions")
    ]


def rates(run: Ran) -> list[float]:
    """Return the learning rate of each of the epochs' first steps, of 12 each."""
    return [step.lr[0] for step in run.trace.steps[::12]]


def test_same_without_any_of_it(options: CallbacksConfig) -> None:
    run = assert_both_same(options)
    assert len(run.trace.steps) == 5 * 12  # early stopping was not triggered
    assert rates(run) == [1e-3] * 5
    assert run.results["lr-Adam"][:, 0].tolist() == [9, 19, 29, 39, 49, 59]


def test_a_schedule_of_epochs_moves_between_them(options: CallbacksConfig) -> None:
    run = assert_both_same(replace(options, lr_scheduler="step"))
    assert rates(run) == [1e-3, 5e-4, 2.5e-4, 1.25e-4, 6.25e-5]
    assert len({step.lr for step in run.trace.steps[:12]}) == 1


def test_cosine_ends_at_zero_after_the_last_epoch(options: CallbacksConfig) -> None:
    run = assert_both_same(replace(options, lr_scheduler="cosine"))
    assert rates(run) == sorted(rates(run), reverse=True)
    assert rates(run)[-1] > 0
    (schedule,) = load(options.output_dir / "plain_pytorch", "last.ckpt")[
        "lr_schedulers"
    ]
    assert schedule["_last_lr"] == [0]


def test_one_cycle_moves_with_every_step(options: CallbacksConfig) -> None:
    run = assert_both_same(replace(options, lr_scheduler="one-cycle"))
    lrs = [step.lr[0] for step in run.trace.steps]
    assert len(set(lrs)) > 50
    top = lrs.index(max(lrs))
    assert 12 < top < 24  # it rises for 30% of all 60 steps
    assert lrs[-1] < lrs[0] < lrs[top] <= 1e-3


def test_plateau_moves_after_a_validation_that_is_no_better(
    options: CallbacksConfig,
) -> None:
    config = replace(
        options, lr_scheduler="plateau", learning_rate=0.05, patience=100, max_epochs=8
    )
    run = assert_both_same(config)
    losses = run.results["val_loss"][:, 1].tolist()
    expected, best = [0.05], inf
    for loss in losses[:-1]:
        worse = loss >= best * (1 - 1e-4)
        expected.append(expected[-1] * 0.5 if worse else expected[-1])
        best = loss if not worse else best
    assert rates(run) == expected
    assert len(set(expected)) > 1


def test_early_stopping_that_stops(options: CallbacksConfig) -> None:
    config = replace(options, min_delta=0.05, patience=2, max_epochs=20)
    run = assert_both_same(config)
    assert 3 * 12 <= len(run.trace.steps) < 20 * 12
    # The test is logged in the epoch after the last one, which is not --max-epochs.
    epochs = len(run.trace.steps) // 12
    assert run.results["epoch"][:, 1].max() == epochs


def test_a_threshold_stops_at_once(options: CallbacksConfig) -> None:
    run = assert_both_same(replace(options, stopping_threshold=0.5))
    assert run.results["val_loss"][-1, 1] < 0.5
    assert (run.results["val_loss"][:-1, 1] >= 0.5).all()
    assert len(run.trace.steps) < 5 * 12


def test_a_higher_loss_can_be_better(options: CallbacksConfig) -> None:
    run = assert_both_same(replace(options, mode="max", patience=2))
    assert len(run.trace.steps) == 3 * 12  # it falls: the first was the best


def nan_in_the_second_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the three batches that follow on 24 steps have a loss of nan."""
    reconstruction_loss = AutoEncoder.reconstruction_loss
    steps, nans = 0, 0

    def changed(model: AutoEncoder, images: Tensor) -> Tensor:
        nonlocal steps, nans
        loss = reconstruction_loss(model, images)
        steps += loss.requires_grad
        if steps == 24 and not loss.requires_grad and nans < 3:
            nans += 1
            return loss * nan
        return loss

    monkeypatch.setattr(AutoEncoder, "reconstruction_loss", changed)


@pytest.mark.parametrize("check_finite", [True, False])
def test_a_validation_loss_of_nan_is_left_to_early_stopping(
    options: CallbacksConfig, check_finite: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(options, check_finite=check_finite, max_epochs=3)
    runs = []
    for half in HALVES:
        with monkeypatch.context() as patch:
            nan_in_the_second_validation(patch)
            runs.append(run_half(half, "callbacks", config, config.output_dir / half))
        assert len(runs[-1].trace.steps) == (24 if check_finite else 36)
        assert load(config.output_dir / half, "best.ckpt")["epoch"] != 1
        losses = runs[-1].results["val_loss"][:, 1]
        assert losses.isnan().tolist() == [False, True, False][: len(losses)]
        losses.nan_to_num_(nan=-1)  # nan is not equal to itself
    assert_same(*runs)


def test_a_first_validation_loss_of_nan_is_kept_until_a_better_one(
    options: CallbacksConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(options, check_finite=False, limit_train_batches=24, max_epochs=2)
    for half in HALVES:
        with monkeypatch.context() as patch:
            nan_in_the_second_validation(patch)
            run_half(half, "callbacks", config, config.output_dir / half)
        assert load(config.output_dir / half, "best.ckpt")["epoch"] == 1
        with monkeypatch.context() as patch:
            nan_in_the_second_validation(patch)
            first = replace(config, max_epochs=1)
            run_half(half, "callbacks", first, config.output_dir / "first" / half)
        assert load(config.output_dir / "first" / half, "best.ckpt")["epoch"] == 0


def epoch_ends(
    config: CallbacksConfig, monkeypatch: pytest.MonkeyPatch
) -> list[dict[str, Tensor]]:
    """Run the plain half; return the weights in training as each epoch ended."""
    states = []

    def recorded(path: Path, checkpoint: dict[str, Any]) -> None:
        if path.name == "last.ckpt":
            weights = checkpoint.get("current_model_state", checkpoint["state_dict"])
            states.append(copy.deepcopy(weights))
        write_checkpoint(path, checkpoint)

    monkeypatch.setattr(plain_pytorch.callbacks, "write_checkpoint", recorded)
    run_half("plain_pytorch", "callbacks", config, config.output_dir)
    return states


def torchs_mean(states: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return the mean of weights as torch's AveragedModel takes it."""
    model = AutoEncoder()
    averaged = AveragedModel(model)
    for state in states:
        model.load_state_dict(state)
        averaged.update_parameters(model)
    return averaged.module.state_dict()


def test_ema_is_validated_and_kept(options: CallbacksConfig) -> None:
    run = assert_both_same(replace(options, weight_averaging="ema"))
    last = load(options.output_dir / "plain_pytorch", "last.ckpt")
    assert not same_state(last["state_dict"], last["current_model_state"])
    assert last["averaging_state"]["n_averaged"] == 60
    assert len(run.trace.evaluations) == 5 * (3 + 1) + 3  # and a picture each


def test_mean_is_torchs_recipe(
    options: CallbacksConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(options, weight_averaging="mean", swa_epoch_start=3)
    assert_both_same(config)
    kept = load(options.output_dir / "lightning", "last.ckpt")["state_dict"]
    config = replace(config, output_dir=options.output_dir / "again")
    ends = epoch_ends(config, monkeypatch)
    assert same_state(kept, torchs_mean(ends[2:]))


def test_lightnings_swa_is_a_mean_over_other_epochs(
    options: CallbacksConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(options, weight_averaging="swa", swa_epoch_start=3)
    run = assert_both_same(config)
    assert rates(run)[:3] == [1e-3] * 3
    assert 1e-3 > rates(run)[3] > rates(run)[4] > config.swa_lrs
    folder = options.output_dir / "lightning"
    kept = load(folder, "swa.ckpt")["state_dict"]
    config = replace(config, output_dir=options.output_dir / "again")
    ends = epoch_ends(config, monkeypatch)
    assert same_state(kept, torchs_mean(ends[1:4]))
    assert not same_state(kept, torchs_mean(ends[2:]))  # torch's recipe
    # Validated and kept as best or last are the weights in training, not the mean.
    assert same_state(load(folder, "last.ckpt")["state_dict"], ends[4])


def test_swa_from_the_first_epoch_averages_untrained_weights(
    options: CallbacksConfig,
) -> None:
    config = replace(options, weight_averaging="swa", swa_epoch_start=1, max_epochs=1)
    assert_both_same(config)
    torch.manual_seed(config.seed)
    untrained = AutoEncoder().state_dict()
    kept = load(config.output_dir / "lightning", "swa.ckpt")["state_dict"]
    assert same_state(kept, untrained)


def test_swa_is_lost_when_training_stops_early(options: CallbacksConfig) -> None:
    config = replace(options, weight_averaging="swa", mode="max", patience=1)
    run = assert_both_same(config)
    assert len(run.trace.steps) == 2 * 12
    assert not list(config.output_dir.glob("*/checkpoints/swa.ckpt"))


def test_with_batch_norm_swa_takes_another_step(
    options: CallbacksConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    init = AutoEncoder.__init__

    def init_with_batch_norm(self: AutoEncoder, *args: Any) -> None:
        init(self, *args)
        self.encoder.insert(1, nn.BatchNorm1d(64))

    monkeypatch.setattr(AutoEncoder, "__init__", init_with_batch_norm)
    config = replace(options, weight_averaging="swa", max_epochs=2)
    ran = run_half("lightning", "callbacks", config, config.output_dir)
    assert len(ran.trace.steps) == 2 * 12 + 1
    assert ran.trace.steps[-1].gradient.norm == 0  # validation has cleared it
    assert load(config.output_dir, "swa.ckpt")["epoch"] == 3


def test_swa_takes_over_from_a_schedule(options: CallbacksConfig) -> None:
    config = replace(options, weight_averaging="swa", max_epochs=3)
    assert_both_same(replace(config, lr_scheduler="plateau"))


def test_a_trainer_that_averages_tests_what_is_not_averaged(
    options: CallbacksConfig,
) -> None:
    """Why main does not say test(ckpt_path=...), as `train` does."""
    config = replace(options, weight_averaging="ema", max_epochs=1)
    model = LitScheduledAutoEncoder(64, 3, 1e-3, "none")
    data = LitMNIST(config)
    trainer = make_trainer(config, config.output_dir, *callbacks_for(config))
    trainer.fit(model, datamodule=data)
    best = config.output_dir / "checkpoints" / "best.ckpt"
    trainer.test(model, datamodule=data, ckpt_path=best, weights_only=True)
    checkpoint = load(config.output_dir, "best.ckpt")
    assert same_state(model.state_dict(), checkpoint["current_model_state"])
    assert not same_state(model.state_dict(), checkpoint["state_dict"])


def test_lightnings_swa_that_never_begins_ends_untrained(
    options: CallbacksConfig,
) -> None:
    """Why the configuration refuses it."""
    config = replace(options, max_epochs=1)
    model = LitScheduledAutoEncoder(64, 3, 1e-3, "none")
    untrained = copy.deepcopy(model.state_dict())
    swa = pl.callbacks.StochasticWeightAveraging(1e-3, swa_epoch_start=2)
    trainer = make_trainer(config, config.output_dir, swa)
    trainer.fit(model, datamodule=LitMNIST(config))
    assert same_state(model.state_dict(), untrained)


def test_a_picture_every_second_epoch(options: CallbacksConfig) -> None:
    config = replace(options, every_n_epochs=2, weight_averaging="ema")
    assert_both_same(config)
    drawn = pictures(config.output_dir / "lightning")
    assert [step for step, _ in drawn] == [24, 48]
    assert len({content for _, content in drawn}) == 2


EVERYTHING: dict[str, Any] = {
    "lr_scheduler": "one-cycle",
    "weight_averaging": "ema",
    "decay": 0.9,
    "patience": 2,
    "min_delta": 0.03,
    "stopping_threshold": 1e-6,
    "every_n_epochs": 3,
    "max_epochs": 10,
}


def test_same_with_everything_on(options: CallbacksConfig) -> None:
    run = assert_both_same(replace(options, **EVERYTHING))
    assert 3 * 12 < len(run.trace.steps) < 10 * 12
    assert len(set(rates(run))) > 1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU here")
@pytest.mark.parametrize("weight_averaging", ["ema", "mean", "swa"])
def test_same_on_a_gpu(options: CallbacksConfig, weight_averaging: Any) -> None:
    config = replace(options, accelerator="cuda", lr_scheduler="cosine")
    assert_both_same(replace(config, weight_averaging=weight_averaging))


class StandIn(SimpleNamespace):
    """As much of a Trainer as EarlyStopping asks for."""

    def __init__(self) -> None:
        super().__init__(
            val_check_interval=1.0,
            check_val_every_n_epoch=1,
            state=SimpleNamespace(fn=TrainerFn.FITTING),
            sanity_checking=False,
            fast_dev_run=False,
            should_stop=False,
            strategy=SimpleNamespace(reduce_boolean_decision=lambda one, **_: one),
        )


# Tenths are not exact, so that many are better in 32 bits and not in 64, or equal.
TENTHS = st.integers(-2, 9).map(lambda tenths: tenths / 10)
LOSSES = st.one_of(
    TENTHS,
    TENTHS,
    st.sampled_from([nan, inf, -inf]),
    st.floats(width=32, allow_nan=False),
)
RULES = st.fixed_dictionaries(
    {
        "patience": st.integers(0, 4),
        "min_delta": st.one_of([st.sampled_from([0.0, 0.1, 0.2, 0.3])] * 3)
        | st.floats(0, 10),
        "mode": st.sampled_from(["min", "max"]),
        "check_finite": st.booleans(),
        "stopping_threshold": st.none() | TENTHS | st.floats(-10, 10),
    }
)


@settings(max_examples=500, derandomize=True, database=None, deadline=None)
@given(rules=RULES, losses=st.lists(LOSSES, min_size=5, max_size=30))
def test_early_stopping_is_lightnings(
    rules: dict[str, Any], losses: list[float]
) -> None:
    mine = EarlyStopping(CallbacksConfig(**rules))
    theirs = pl.callbacks.EarlyStopping("val_loss", **rules)
    trainer: Any = StandIn()
    model: Any = None
    theirs.setup(trainer, model, "fit")
    for trainer.current_epoch, loss in enumerate(losses):
        trainer.callback_metrics = {"val_loss": torch.tensor(loss)}
        theirs.on_train_epoch_end(trainer, model)
        stops = mine.should_stop(torch.tensor(loss))
        assert stops == trainer.should_stop
        assert torch.equal(mine.best_score, theirs.best_score)
        assert mine.wait_count == theirs.wait_count
        assert mine.stopping_reason == theirs.stopping_reason.name
        if stops:
            break


def test_early_stopping_computes_in_32_bits() -> None:
    threshold = EarlyStopping(CallbacksConfig(stopping_threshold=0.7))
    assert torch.tensor(0.7).item() < 0.7
    assert not threshold.should_stop(torch.tensor(0.7))

    delta = EarlyStopping(CallbacksConfig(min_delta=0.2, patience=1))
    assert torch.tensor(0.1).item() + 0.2 < torch.tensor(0.3).item()
    assert [delta.should_stop(torch.tensor(loss)) for loss in (0.3, 0.1)] == [0, 1]


def test_a_forgotten_scheduler_step_is_noticed(
    options: CallbacksConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(options, lr_scheduler="step", max_epochs=2)
    plain = run_half("plain_pytorch", "callbacks", config, config.output_dir / "plain")
    monkeypatch.setattr(
        LitScheduledAutoEncoder, "lr_scheduler_step", lambda *arguments: None
    )
    other = run_half("lightning", "callbacks", config, config.output_dir / "lightning")
    with pytest.raises(AssertionError, match="learning rate at step 12"):
        assert_same(plain, other)


def test_another_rounding_of_the_average_is_noticed(
    options: CallbacksConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lerp(decay: float) -> Any:
        return lambda averaged, current, _: averaged.lerp(current, 1 - decay)

    config = replace(options, weight_averaging="ema", max_epochs=1)
    lightning = run_half("lightning", "callbacks", config, config.output_dir / "one")
    monkeypatch.setattr(plain_pytorch.callbacks, "get_ema_avg_fn", lerp)
    plain = run_half("plain_pytorch", "callbacks", config, config.output_dir / "other")
    with pytest.raises(AssertionError, match="evaluation at step 11"):
        assert_same(plain, lightning)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--patience=-1"], "--patience: -1 .*v>=0"),
        (["--patience=1.5"], "--patience: .*1.5"),
        (["--min-delta=-0.1"], "--min-delta: -0.1 .*v>=0"),
        (["--min-delta=nan"], "--min-delta: nan"),
        (["--mode=best"], "--mode: .*'max'.*best"),
        (["--stopping-threshold=nan"], "--stopping-threshold: .*v<inf"),
        (["--lr-scheduler=linear"], "--lr-scheduler: .*'cosine'.*linear"),
        (["--weight-averaging=median"], "--weight-averaging: .*'ema'.*median"),
        (["--decay=1.1"], "--decay: 1.1 .*v<=1"),
        (["--swa-epoch-start=0"], "--swa-epoch-start: 0 .*v>0"),
        (["--swa-lrs=0"], "--swa-lrs: 0 .*v>0"),
        (["--every-n-epochs=0"], "--every-n-epochs: 0 .*v>0"),
        (["--decay=0.9"], "--decay has no use with .* none, but with ema"),
        (["--decay=0.9", "--weight-averaging=swa"], "--decay has no use with"),
        (["--swa-epoch-start=3"], "--swa-epoch-start .* none, but with mean or swa"),
        (["--swa-epoch-start=3", "--weight-averaging=ema"], "--swa-epoch-start has no"),
        (["--swa-lrs=0.1", "--weight-averaging=mean"], "--swa-lrs .*, but with swa"),
        (["--weight-averaging=mean", "--max-epochs=1"], "2 is never reached"),
        (
            ["--weight-averaging=swa", "--lr-scheduler=one-cycle"],
            "in the place of --lr-scheduler one-cycle",
        ),
        (
            ["--weight-averaging=swa", "--swa-epoch-start=1", "--lr-scheduler=step"],
            "in the place of --lr-scheduler step from epoch 1 on",
        ),
    ],
)
def test_a_bad_value_is_named_in_one_line(arguments: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said) as error:
        Parser("program", CallbacksConfig).parse_config(arguments)
    assert "\n" not in str(error.value)
    assert error.value.exit_status == 2


@pytest.mark.parametrize("check_finite", [True, False])
def test_the_command_line_gives_the_options_back(check_finite: bool) -> None:
    config = CallbacksConfig(check_finite=check_finite, stopping_threshold=-1.0)
    parser = Parser("program", CallbacksConfig)
    assert parser.parse_config(config.to_arguments()) == config


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize(
    ("changes", "epochs", "reason"),
    [
        ({"max_epochs": 1}, "1 of 1", None),
        ({"patience": 1, "mode": "max"}, "2 of 5", "patience exhausted"),
        ({"stopping_threshold": 1.0}, "1 of 5", "stopping threshold"),
    ],
)
def test_a_run_says_why_it_stops(
    options: CallbacksConfig,
    half: str,
    changes: dict[str, Any],
    epochs: str,
    reason: str | None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run_half(half, "callbacks", replace(options, **changes), options.output_dir)
    said = capsys.readouterr().out.splitlines()
    assert f"epochs                {epochs}" in said
    reasons = [line for line in said if line.startswith("stopped early")]
    assert reasons == ([f"stopped early         {reason}"] if reason else [])


def test_the_command(options: CallbacksConfig) -> None:
    config = replace(options, patience=1, mode="max", weight_averaging="ema")
    status, stdout, stderr = run_forked("lightning.callbacks", *config.to_arguments())
    assert status == 0
    assert "site-packages" not in stderr  # no warning, from whichever library
    assert "epochs                2 of 5" in stdout.splitlines()
    assert "stopped early         patience exhausted" in stdout.splitlines()


def test_the_command_with_a_bad_value() -> None:
    status, _, stderr = run_forked("plain_pytorch.callbacks", "--patience=-1")
    assert (status, stderr.count("\n")) == (2, 1)
