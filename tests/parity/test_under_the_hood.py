"""Both twins call the same hooks in the same order, and compute the same."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from pytorch_lightning.core import hooks
from pytorch_lightning.loops.fit_loop import _FitLoop
from pytorch_lightning.trainer import call

import plain_pytorch.under_the_hood
from lightning.train import LitAutoEncoder, LitMNIST
from lightning.under_the_hood import (
    OLD_HOOKS,
    SAID_ALOUD,
    HookRecorder,
    LitEncoder,
    LitOldFashioned,
    find_old_hooks,
    hook_names,
)
from shared.options.train import TrainConfig
from shared.options.under_the_hood import UnderTheHoodConfig
from tests.parity.halves import assert_same, run_half
from tests.processes import run_forked

HALVES = ["plain_pytorch", "lightning"]


@pytest.fixture
def tiny(small: TrainConfig) -> UnderTheHoodConfig:
    """Return the options of the lesson itself, on the 5,000 digits."""
    return UnderTheHoodConfig(
        dataset="mnist-5k",
        data_dir=small.data_dir,
        output_dir=small.output_dir,
        accelerator="cpu",
    )


def run_both(config: UnderTheHoodConfig) -> list[str]:
    """Run both twins, compare all but their hooks, and return one list of those."""
    plain, lightning = (config.output_dir / half for half in HALVES)
    assert_same(
        run_half("plain_pytorch", "under_the_hood", config, plain),
        run_half("lightning", "under_the_hood", config, lightning),
    )
    ours, theirs = (read_embeddings(run_dir) for run_dir in (plain, lightning))
    assert len(ours) == len(theirs)
    assert all(map(torch.equal, ours, theirs))
    assert calls(plain) == calls(lightning)
    return calls(plain)


def calls(run_dir: Path) -> list[str]:
    """Return the hooks that a run called, in order."""
    return (run_dir / "hooks.txt").read_text().splitlines()


def read_embeddings(run_dir: Path) -> list[torch.Tensor]:
    """Return the predictions of a run, batch by batch."""
    return torch.load(run_dir / "embeddings.pt", weights_only=True)["embeddings"]


def test_same_with_the_defaults(tiny: UnderTheHoodConfig) -> None:
    called = run_both(tiny)
    assert [line for line in called if line.startswith(" " * 4)]
    assert called.count("model.on_train_epoch_start()") == 2
    assert called.count("model.on_validation_epoch_start()") == 3  # the sanity check
    steps = [line.strip() for line in called if "_step(" in line]
    assert sum(line.startswith("model.training_step") for line in steps) == 4
    assert sum(line.startswith("model.validation_step") for line in steps) == 6
    assert sum(line.startswith("model.test_step") for line in steps) == 1
    assert sum(line.startswith("model.predict_step") for line in steps) == 1


@pytest.mark.usefixtures("dropout")
@pytest.mark.parametrize("max_epochs", [1, 3])
@pytest.mark.parametrize("batch_size", [1000, 750])  # 4,000 images: a short last batch
def test_same_with_whole_epochs_and_dropout(
    tiny: UnderTheHoodConfig, max_epochs: int, batch_size: int
) -> None:
    config = replace(
        tiny,
        max_epochs=max_epochs,
        batch_size=batch_size,
        limit_train_batches=None,
        limit_val_batches=None,
        limit_test_batches=None,
        limit_predict_batches=None,
    )
    called = run_both(config)
    batches = max_epochs * -(-4000 // batch_size)
    assert sum("model.optimizer_step" in line for line in called) == batches


@pytest.mark.usefixtures("dropout")
def test_the_sanity_check_moves_no_random_number(
    tiny: UnderTheHoodConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    validation_step = LitAutoEncoder.validation_step

    def draw_and_step(model: LitAutoEncoder, *batch: Any) -> torch.Tensor:
        torch.rand(())
        return validation_step(model, *batch)

    monkeypatch.setattr(LitAutoEncoder, "validation_step", draw_and_step)
    run_both(tiny)


def test_same_where_the_best_weights_are_not_the_last(tiny: UnderTheHoodConfig) -> None:
    called = run_both(replace(tiny, max_epochs=3, learning_rate=1.0))
    saved = called.count("model.on_save_checkpoint(checkpoint)")
    assert 4 <= saved < 6  # the last of every epoch, and the best of fewer


def test_same_with_points_of_the_training_loss(
    small: TrainConfig, tmp_path: Path
) -> None:
    config = UnderTheHoodConfig(**vars(small), limit_predict_batches=None)
    run_both(config)
    # And what is recorded here is what the lesson `train` does.
    train = run_half("lightning", "train", small, tmp_path / "train")
    hood = run_half("lightning", "under_the_hood", config, tmp_path / "hood")
    assert "train_loss" in train.results
    assert train.results.keys() == hood.results.keys()
    for name, values in train.results.items():
        assert torch.equal(values, hood.results[name]), name


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU here")
@pytest.mark.usefixtures("dropout")
def test_same_on_a_gpu(tiny: UnderTheHoodConfig) -> None:
    run_both(replace(tiny, accelerator="cuda"))


def forgotten_transfer(model: LitEncoder, data: LitMNIST, batch: Any) -> Any:
    batch = data.on_before_batch_transfer(batch, 0)
    return data.transfer_batch_to_device(batch, model.device, 0)


def test_a_forgotten_hook_is_noticed(
    tiny: UnderTheHoodConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plain_pytorch.under_the_hood, "transfer", forgotten_transfer)
    with pytest.raises(AssertionError, match="on_after_batch_transfer"):
        run_both(tiny)


def on_coffee_break(self: hooks.ModelHooks) -> None:
    pass


def test_a_hook_that_a_later_lightning_adds_is_noticed(
    tiny: UnderTheHoodConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_run_end: Callable[[_FitLoop], None] = _FitLoop.on_run_end

    def on_run_end_and_a_break(loop: _FitLoop) -> None:
        call._call_lightning_module_hook(loop.trainer, "on_coffee_break")
        on_run_end(loop)

    monkeypatch.setattr(
        hooks.ModelHooks, "on_coffee_break", on_coffee_break, raising=False
    )
    monkeypatch.setattr(_FitLoop, "on_run_end", on_run_end_and_a_break)
    with pytest.raises(AssertionError, match="on_coffee_break"):
        run_both(tiny)


UNSEEN = {
    # The Trainer asks one of the two for these, and here the data has them.
    "model.prepare_data",
    "model.train_dataloader",
    "model.val_dataloader",
    "model.test_dataloader",
    "model.predict_dataloader",
    "model.on_before_batch_transfer",
    "model.transfer_batch_to_device",
    "model.on_after_batch_transfer",
    "model.configure_sharded_model",  # the deprecated name of configure_model
    "model.lr_scheduler_step",  # the model has no scheduler
    "data.load_state_dict",  # the data saves no state
    "data.on_exception",
}


def test_every_hook_of_the_installed_lightning_is_called(
    tiny: UnderTheHoodConfig,
) -> None:
    run_half("lightning", "under_the_hood", tiny, tiny.output_dir)
    called = {line.strip().split("(")[0] for line in calls(tiny.output_dir)}
    known = {f"model.{name}" for name in hook_names(pl.LightningModule)}
    known |= {f"data.{name}" for name in hook_names(pl.LightningDataModule)}
    assert called == known - UNSEEN
    assert known > UNSEEN


def test_every_hook_that_the_source_of_lightning_calls_is_recorded() -> None:
    source = "".join(
        path.read_text() for path in sorted(Path(*pl.__path__).rglob("*.py"))
    )
    known = hook_names(pl.LightningModule) | hook_names(pl.LightningDataModule)
    called = re.findall(
        r"_call_(?:lightning_module|lightning_datamodule|batch)_hook\("
        r"\s*(?:[\w.]+,\s*)?\"(\w+)\"",
        source,
    )
    called += re.findall(r"hook_name = \"(\w+)\"", source)
    called += re.findall(r"hook_name = \"\w+\" if .+ else \"(\w+)\"", source)
    assert len(set(called)) > 40
    assert set(called) <= known


def test_a_scheduler_steps_where_the_plain_half_says(
    tiny: UnderTheHoodConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def configure_optimizers(model: LitAutoEncoder) -> Any:
        optimizer = torch.optim.Adam(model.parameters())
        schedule = torch.optim.lr_scheduler.ConstantLR(optimizer)
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]

    monkeypatch.setattr(LitAutoEncoder, "configure_optimizers", configure_optimizers)
    run_half("lightning", "under_the_hood", tiny, tiny.output_dir)
    called = calls(tiny.output_dir)
    places = [i for i, line in enumerate(called) if "lr_scheduler_step" in line]
    assert len(places) == 4
    for place in places:
        assert "model.configure_gradient_clipping" in called[place - 1]
        assert "model.on_train_batch_end" in called[place + 1]


def test_later_batches_are_printed_only_where_they_differ(
    tiny: UnderTheHoodConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder = HookRecorder(LitEncoder(4, 2, 1e-3), LitMNIST(tiny))
    for line in [
        "data.on_before_batch_transfer(batch)",
        "model.test_step(batch, batch_idx=0)",
        "model.on_test_batch_end(batch, batch_idx=0)",
        "data.on_before_batch_transfer(batch)",
        "model.test_step(batch, batch_idx=1)",
        "    model.something_new(batch_idx=1)",
        "model.on_test_batch_end(batch, batch_idx=1)",
        "model.on_test_epoch_end()",
        "data.on_before_batch_transfer(batch)",
    ]:
        recorder.print_call(line)
    assert capsys.readouterr().out.splitlines() == [
        "data.on_before_batch_transfer(batch)",
        "model.test_step(batch, batch_idx=0)",
        "model.on_test_batch_end(batch, batch_idx=0)",
        "... and the same for every batch of this loop",
        "    model.something_new(batch_idx=1)",
        "model.on_test_epoch_end()",
        "data.on_before_batch_transfer(batch)",
    ]


def test_what_the_twins_print(
    tiny: UnderTheHoodConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    run_half("plain_pytorch", "under_the_hood", tiny, tiny.output_dir / "plain")
    hooks_called, end = capsys.readouterr().out.split("\n\n")
    run_half("lightning", "under_the_hood", tiny, tiny.output_dir / "other")
    same_hooks, old_hooks, same_end = capsys.readouterr().out.split("\n\n")
    assert hooks_called == same_hooks
    assert hooks_called.startswith("model.configure_callbacks()\n")
    assert hooks_called.endswith("model.teardown(stage=predict)")
    assert "    model.training_step(batch, batch_idx=0)\n" in hooks_called
    assert end.replace("/plain", "/other") == same_end
    assert old_hooks.startswith("ignored without a word:\nLitOldFashioned.")


@pytest.mark.slow
def test_the_plain_command_is_without_warnings(tiny: UnderTheHoodConfig) -> None:
    status, _, stderr = run_forked("plain_pytorch.under_the_hood", *tiny.to_arguments())
    assert status == 0
    assert not stderr


def trainer(config: TrainConfig, *callbacks: pl.Callback) -> pl.Trainer:
    """Return a Trainer that leaves nothing behind."""
    return pl.Trainer(
        accelerator="cpu",
        max_epochs=1,
        limit_train_batches=2,
        limit_val_batches=1,
        limit_test_batches=1,
        limit_predict_batches=1,
        default_root_dir=config.output_dir,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[*callbacks],
    )


def train_test_predict(
    model: pl.LightningModule, config: TrainConfig, *callbacks: pl.Callback
) -> dict[str, torch.Tensor]:
    """Use a model in every way; return its weights."""
    data = LitMNIST(config)
    for use in (
        (runner := trainer(config, *callbacks)).fit,
        runner.test,
        runner.predict,
    ):
        use(model, datamodule=data)
    return model.state_dict()


def with_old_hooks(base: type, seen: list[str]) -> Any:
    """Return a subclass that defines every old hook, and a misspelt one."""

    def old_hook(name: str) -> Callable[..., None]:
        return lambda *_, **__: seen.append(name)

    names = [*OLD_HOOKS, "configure_optimizer", "on_train_batch_ends"]
    return type("Old", (base,), {name: old_hook(name) for name in names})


def test_the_trainer_calls_no_old_hook(tiny: UnderTheHoodConfig) -> None:
    seen: list[str] = []
    torch.manual_seed(0)
    old = with_old_hooks(LitEncoder, seen)(8, 2, 1e-3)
    callback = with_old_hooks(pl.Callback, seen)()
    torch.manual_seed(0)
    new = LitEncoder(8, 2, 1e-3)
    weights = train_test_predict(old, tiny, callback)
    assert not seen
    for name, weight in train_test_predict(new, tiny).items():
        assert torch.equal(weights[name], weight), name
    assert getattr(old, next(iter(OLD_HOOKS)))() is None  # they do record a call
    assert seen


@pytest.mark.parametrize("name", sorted(SAID_ALOUD))
def test_some_old_hooks_raise_and_are_not_flagged(
    tiny: UnderTheHoodConfig, name: str
) -> None:
    def old_hook(self: LitEncoder, outputs: Any) -> None:
        pass

    old = type("Old", (LitEncoder,), {name: old_hook})
    assert name not in OLD_HOOKS
    assert not find_old_hooks(old)
    with pytest.raises(NotImplementedError, match=name):
        train_test_predict(old(8, 2, 1e-3), tiny)


def test_old_hooks_are_flagged() -> None:
    for base in (LitEncoder, pl.Callback):
        lines = find_old_hooks(with_old_hooks(base, []))
        for name, now in OLD_HOOKS.items():
            assert f"Old.{name}: no Trainer calls it; write {now}" in lines
        assert any("write on_train_batch_end" in line for line in lines)


def test_what_to_write_now_is_a_hook() -> None:
    known = hook_names(pl.LightningModule) | hook_names(pl.Callback)
    assert known >= {*OLD_HOOKS.values()}
    assert not known & {*OLD_HOOKS}


def test_living_hooks_are_not_flagged() -> None:
    for model in (LitAutoEncoder, LitEncoder):
        assert not find_old_hooks(model)
    callbacks: list[type[pl.Callback]] = [ModelCheckpoint, EarlyStopping]
    callbacks += pl.Callback.__subclasses__()
    for callback in callbacks:
        if callback.__module__.startswith("pytorch_lightning."):  # not of a test
            assert not find_old_hooks(callback), callback


def test_the_old_fashioned_model(tiny: UnderTheHoodConfig) -> None:
    assert find_old_hooks(LitOldFashioned) == [
        "LitOldFashioned.configure_optimizer: no Trainer calls it;"
        " write configure_optimizers",
        "LitOldFashioned.on_epoch_end: no Trainer calls it; write on_train_epoch_end",
        "LitOldFashioned.training_step: 'log' is ignored: use self.log",
        "LitOldFashioned.training_step: 'progress_bar' is ignored: use self.log",
        "LitOldFashioned.training_step_end: no Trainer calls it; write training_step",
    ]
    runner = trainer(tiny)
    runner.fit(LitOldFashioned(8, 2, 1e-3), datamodule=LitMNIST(tiny))
    assert isinstance(runner.optimizers[0], torch.optim.Adam)
    assert "train_loss" in runner.logged_metrics
    assert "old_loss" not in runner.logged_metrics
    assert "old_loss" not in runner.progress_bar_metrics
