"""Both halves call the same hooks in the same order, and compute the same."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.core import hooks
from pytorch_lightning.loops.fit_loop import _FitLoop
from pytorch_lightning.trainer import call

import plain_pytorch.under_the_hood
from lightning.under_the_hood import Model
from shared.data import Batch
from shared.options.train import Config as TrainConfig
from shared.options.under_the_hood import Config as UnderTheHoodConfig
from shared.runtime.hooks import hook_names
from tests.parity.halves import Ran, assert_same, run_half

HALVES = ("plain_pytorch", "lightning")
LESSON = "under_the_hood"


@pytest.fixture
def tiny(small: TrainConfig) -> UnderTheHoodConfig:
    """Return the options of the lesson itself, on the 5,000 digits."""
    return UnderTheHoodConfig(
        dataset="mnist-5k",
        data_dir=small.data_dir,
        output_dir=small.output_dir,
        accelerator="cpu",
    )


def called(run_dir: Path) -> list[str]:
    """Return the hooks that a run called, in order."""
    return (run_dir / "hooks.txt").read_text().splitlines()


def run_both(config: UnderTheHoodConfig) -> list[str]:
    """Run both halves; return their hooks, once all is found to be equal."""
    folders = [config.output_dir / half for half in HALVES]
    plain, lightning = (
        run_half(half, LESSON, config, folder)
        for half, folder in zip(HALVES, folders, strict=True)
    )
    plain_hooks, lightning_hooks = map(called, folders)
    assert plain_hooks == lightning_hooks
    assert_same(plain, lightning)
    return plain_hooks


def test_same_with_the_defaults(tiny: UnderTheHoodConfig) -> None:
    hooks_called = run_both(tiny)
    assert hooks_called[0] == "model.configure_callbacks"
    assert hooks_called[-1] == "model.teardown"
    assert hooks_called.count("model.on_train_epoch_start") == 2
    assert hooks_called.count("model.on_validation_epoch_start") == 3  # a sanity check
    assert hooks_called.count("    model.training_step") == 4
    assert hooks_called.count("model.validation_step") == 6


@pytest.mark.usefixtures("dropout")
@pytest.mark.parametrize(
    "batch_size",  # of 4,000 images: the last batch is short, or not
    [750, pytest.param(1000, marks=pytest.mark.slow)],
)
def test_same_with_whole_epochs_and_dropout(
    tiny: UnderTheHoodConfig, batch_size: int
) -> None:
    whole = replace(
        tiny,
        max_epochs=3,
        batch_size=batch_size,
        limit_train_batches=None,
        limit_val_batches=None,
    )
    steps = 3 * -(-4000 // batch_size)
    assert run_both(whole).count("model.optimizer_step") == steps


@pytest.mark.usefixtures("dropout")
def test_the_sanity_check_moves_no_random_number(
    tiny: UnderTheHoodConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    validation_step = Model.validation_step

    def draw_and_step(model: Model, batch: Batch, batch_idx: int) -> torch.Tensor:
        torch.rand(())
        return validation_step(model, batch, batch_idx)

    monkeypatch.setattr(Model, "validation_step", draw_and_step)
    run_both(tiny)


def test_same_where_the_best_weights_are_not_the_last(tiny: UnderTheHoodConfig) -> None:
    hooks_called = run_both(replace(tiny, max_epochs=3, learning_rate=1.0))
    saved = hooks_called.count("model.on_save_checkpoint")
    assert 4 <= saved < 6  # the last of every epoch, and the best of fewer


def test_the_recorder_changes_nothing(small: TrainConfig, tmp_path: Path) -> None:
    config = UnderTheHoodConfig(**vars(small))
    train = run_half("lightning", "train", small, tmp_path / "train")
    for half in HALVES:
        recorded = run_half(half, LESSON, config, tmp_path / half)
        results = dict(recorded.results)
        assert "train_loss" in results
        assert results.pop("hooks.txt") is not None
        assert_same(train, Ran(recorded.trace, results))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU here")
@pytest.mark.usefixtures("dropout")
def test_same_on_a_gpu(tiny: UnderTheHoodConfig) -> None:
    run_both(replace(tiny, accelerator="cuda"))


def test_a_forgotten_hook_is_noticed(
    tiny: UnderTheHoodConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def step(model: Any, optimizer: Any, epoch: int, batch: Any, batch_idx: int) -> Any:
        loss = model.training_step(batch, batch_idx)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    monkeypatch.setattr(plain_pytorch.under_the_hood, "step", step)
    with pytest.raises(AssertionError, match=r"model\.optimizer_step"):
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


NOT_IN_FIT = re.compile(
    r"(model|data)\.\w*(test|predict)\w*"
    # The Trainer asks the model for these only where no data module has them.
    r"|model\.(prepare_data|train_dataloader|val_dataloader)"
    # It calls these only where they are overridden.
    r"|model\.(configure_model|configure_sharded_model|on_validation_model_train)"
    r"|data\.(on_before_batch_transfer|transfer_batch_to_device|on_after_batch_transfer)"
    # There is no scheduler, no checkpoint to load and no exception.
    r"|model\.(lr_scheduler_step|on_load_checkpoint)"
    r"|data\.(load_state_dict|on_exception)"
)


def test_all_other_hooks_of_the_installed_lightning_are_called(
    tiny: UnderTheHoodConfig,
) -> None:
    run_half("lightning", LESSON, tiny, tiny.output_dir)
    known = {f"model.{name}" for name in hook_names(pl.LightningModule)}
    known |= {f"data.{name}" for name in hook_names(pl.LightningDataModule)}
    unused = {name for name in known if NOT_IN_FIT.fullmatch(name)}
    assert {line.strip() for line in called(tiny.output_dir)} == known - unused


def test_every_hook_that_the_source_of_lightning_calls_is_recorded() -> None:
    source = "".join(
        path.read_text() for path in sorted(Path(*pl.__path__).rglob("*.py"))
    )
    known = hook_names(pl.LightningModule) | hook_names(pl.LightningDataModule)
    names = re.findall(
        r"_call_(?:lightning_module|lightning_datamodule|batch)_hook\("
        r"\s*(?:[\w.]+,\s*)?\"(\w+)\"",
        source,
    )
    names += re.findall(r"hook_name = \"(\w+)\"", source)
    names += re.findall(r"hook_name = \"\w+\" if .+ else \"(\w+)\"", source)
    assert len(set(names)) > 40
    assert set(names) <= known


@pytest.mark.parametrize("name", ["on_epoch_end", "configure_optimizer"])
def test_the_ignored_hooks_would_be_noticed(
    tiny: UnderTheHoodConfig, name: str
) -> None:
    # Both halves run with them in every test above, so nothing calls them.
    assert name not in hook_names(pl.LightningModule)
    model = Model(tiny.hidden_dim, tiny.latent_dim, tiny.learning_rate)
    with pytest.raises(AssertionError):
        getattr(model, name)()
