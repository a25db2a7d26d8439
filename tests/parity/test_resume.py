"""A run that was stopped ends as one that never was, whichever half goes on with it."""

import importlib
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from shared.checkpoints.lightning_format import from_callbacks
from shared.checkpoints.resume import LAST, choose_run_dir, only_process
from shared.checkpoints.whole_files import (
    CheckpointError,
    read_checkpoint,
    write_checkpoint,
)
from shared.data import EpochSampler
from shared.model import AutoEncoder
from shared.options.resume import Config as ResumeConfig
from shared.options.train import Config as TrainConfig
from shared.runtime import signals
from shared.runtime.errors import UserError
from tests.parity.halves import Ran, assert_resumed, assert_same, run_half

HALVES = ["plain_pytorch", "lightning"]
BATCHES = 6


def slow(*values: Any) -> Any:
    return pytest.param(*values, marks=pytest.mark.slow)


class PowerCutError(Exception):
    """Ends a run in the middle of a step."""


@pytest.fixture
def config(small: TrainConfig) -> ResumeConfig:
    options = vars(small) | {"max_epochs": 3, "limit_train_batches": BATCHES}
    return ResumeConfig(**options, every_n_train_steps=3)


def stop(half: str, config: ResumeConfig, run_dir: Path, step: int) -> Path:
    """Run a half until an error in a step; return its last checkpoint."""
    reconstruction_loss = AutoEncoder.reconstruction_loss
    taken = 0

    def failing(model: AutoEncoder, images: Tensor) -> Tensor:
        nonlocal taken
        if torch.is_grad_enabled():
            if taken == step:
                raise PowerCutError
            taken += 1
        return reconstruction_loss(model, images)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AutoEncoder, "reconstruction_loss", failing)
        with pytest.raises(PowerCutError):
            main(half, config, run_dir)
    return run_dir / LAST


def main(half: str, config: ResumeConfig, run_dir: Path) -> None:
    """Run a half, untraced."""
    run_dir.mkdir(parents=True, exist_ok=True)
    importlib.import_module(f"{half}.resume").main(config, run_dir)


def assert_equal(one: object, other: object) -> None:
    """Fail unless two nested values are equal to the last bit."""
    assert type(one) is type(other)
    if isinstance(one, dict) and isinstance(other, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_equal(one[key], other[key])
    elif isinstance(one, list | tuple) and isinstance(other, list | tuple):
        assert len(one) == len(other)
        for part, counterpart in zip(one, other, strict=True):
            assert_equal(part, counterpart)
    elif isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        assert torch.equal(one, other)
    else:
        assert one == other


def resume(half: str, config: ResumeConfig, path: Path) -> Ran:
    """Go on with a run in its own folder, where the random numbers are others."""
    torch.manual_seed(999)
    config = replace(config, ckpt_path=str(path))
    return run_half(half, "resume", config, path.parents[1])


def test_both_halves_are_the_same(config: ResumeConfig) -> None:
    plain, lightning = (
        run_half(half, "resume", config, config.output_dir / half) for half in HALVES
    )
    assert len(plain.trace.steps) == 3 * BATCHES
    assert_same(plain, lightning)


@pytest.mark.usefixtures("dropout")
@pytest.mark.parametrize("resumer", HALVES)
@pytest.mark.parametrize("writer", HALVES)
@pytest.mark.parametrize(
    "step", [BATCHES + 3, *map(slow, [0, 3, BATCHES, 2 * BATCHES])]
)
def test_a_resumed_run_ends_as_one_that_never_stopped(
    config: ResumeConfig, writer: str, resumer: str, step: int
) -> None:
    whole = run_half(resumer, "resume", config, config.output_dir / "whole")
    path = stop(writer, config, config.output_dir / "stopped", step)
    assert_resumed(whole, resume(resumer, config, path), step)


@pytest.mark.parametrize("half", [slow("plain_pytorch"), "lightning"])
def test_a_run_goes_on_from_its_last_save(config: ResumeConfig, half: str) -> None:
    config = replace(config, every_n_train_steps=4)
    whole = run_half(half, "resume", config, config.output_dir / "whole")
    path = stop(half, config, config.output_dir / "stopped", BATCHES + 5)
    assert read_checkpoint(path)["global_step"] == 8
    assert_resumed(whole, resume(half, config, path), 8)


@pytest.mark.parametrize(
    ("writer", "resumer"),
    [
        ("plain_pytorch", "lightning"),
        slow("lightning", "plain_pytorch"),
        slow("plain_pytorch", "plain_pytorch"),
        slow("lightning", "lightning"),
    ],
)
def test_workers_go_on_with_the_right_images(
    config: ResumeConfig, writer: str, resumer: str
) -> None:
    config = replace(config, num_workers=1)
    whole = run_half(resumer, "resume", config, config.output_dir / "whole")
    path = stop(writer, config, config.output_dir / "stopped", BATCHES + 3)
    assert_resumed(whole, resume(resumer, config, path), BATCHES + 3)


def names(run_dir: Path) -> list[str]:
    return sorted(path.name for path in (run_dir / "checkpoints").iterdir())


def without_random_states(patch: pytest.MonkeyPatch, half: str) -> None:
    """Forget the random numbers, where they are loaded."""
    module = "plain_pytorch.resume" if half == "plain_pytorch" else CALLBACK
    patch.setattr(f"{module}.set_rng_states", lambda states: None)


def with_the_first_images_again(patch: pytest.MonkeyPatch, half: str) -> None:
    """Begin an epoch at its start, as a Trainer does by itself."""
    setting = property(lambda sampler: 0, lambda sampler, skip: None)
    patch.setattr(EpochSampler, "skip", setting, raising=False)


CALLBACK = "shared.checkpoints.resume_callback"


@pytest.mark.usefixtures("dropout")
@pytest.mark.parametrize(
    ("half", "mistake"),
    [
        ("plain_pytorch", with_the_first_images_again),
        ("lightning", without_random_states),
        slow("plain_pytorch", without_random_states),
        slow("lightning", with_the_first_images_again),
    ],
)
def test_a_mistake_is_noticed(
    config: ResumeConfig, half: str, mistake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(config, max_epochs=2)
    whole = run_half(half, "resume", config, config.output_dir / "whole")
    path = stop(half, config, config.output_dir / "stopped", BATCHES + 3)
    mistake(monkeypatch, half)
    with pytest.raises(AssertionError):
        assert_resumed(whole, resume(half, config, path), BATCHES + 3)


@pytest.mark.parametrize("half", HALVES)
def test_a_second_process_is_told_and_writes_nothing(
    config: ResumeConfig, half: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = stop(half, config, config.output_dir / "run", 2)
    run_dir = path.parents[1]
    before = contents(run_dir)
    monkeypatch.setattr("shared.checkpoints.resume.PATIENCE", 0.1)
    config = replace(config, ckpt_path=str(path))
    with only_process(run_dir), pytest.raises(UserError, match="another process"):
        main(half, config, run_dir)
    assert contents(run_dir) == before
    main(half, config, run_dir)  # it is free again


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("writer", "resumer", "save_top_k"),
    [
        ("plain_pytorch", "lightning", 2),
        slow("lightning", "plain_pytorch", 2),
        slow("plain_pytorch", "plain_pytorch", 2),
        slow("lightning", "lightning", 2),
        slow("plain_pytorch", "lightning", -1),
        slow("lightning", "plain_pytorch", -1),
    ],
)
def test_the_best_k_go_on(
    config: ResumeConfig, writer: str, resumer: str, save_top_k: int
) -> None:
    config = replace(config, save_top_k=save_top_k, max_epochs=4)
    whole_dir, run_dir = config.output_dir / "whole", config.output_dir / "stopped"
    # The file of the whole run has other paths in it: the names and the end count.
    main(writer, config, whole_dir)
    path = stop(writer, config, run_dir, 2 * BATCHES + 1)
    main(resumer, replace(config, ckpt_path=str(path)), run_dir)
    epochs = [0, 1, 2, 3] if save_top_k == -1 else [2, 3]
    expected = [f"epoch={epoch}.ckpt" for epoch in epochs]
    assert names(whole_dir) == names(run_dir) == [*expected, "last.ckpt"]
    for name in names(whole_dir):
        whole, resumed = (
            read_checkpoint(folder / "checkpoints" / name)
            for folder in (whole_dir, run_dir)
        )
        assert_equal(whole["state_dict"], resumed["state_dict"])
        assert whole["loops"]["fit_loop"] == resumed["loops"]["fit_loop"]
    scores = {
        Path(path).name: score.item()
        for path, score in from_callbacks(
            read_checkpoint(path)["callbacks"], path.parent
        ).items()
    }
    assert sorted(scores) == expected


def test_a_file_of_either_half_says_the_same(config: ResumeConfig) -> None:
    """All but Lightning's own counts, of which a file of the plain half has less."""
    for half in HALVES:
        main(half, config, config.output_dir / half)
    for name in ("last.ckpt", "best.ckpt"):
        plain, lightning = (
            read_checkpoint(config.output_dir / half / "checkpoints" / name)
            for half in HALVES
        )
        assert plain.keys() <= lightning.keys()
        for key in plain.keys() - {"callbacks", "rng_states"}:
            assert_equal(plain[key], lightning[key])
        assert_equal(plain["rng_states"]["torch"], lightning["rng_states"]["torch"])


@pytest.mark.parametrize("half", ["plain_pytorch", slow("lightning")])
def test_a_finished_run_goes_on_for_more_epochs(
    config: ResumeConfig, half: str
) -> None:
    whole = run_half(half, "resume", config, config.output_dir / "whole")
    run_dir = config.output_dir / "short"
    main(half, replace(config, max_epochs=2), run_dir)
    resumed = resume(half, config, run_dir / LAST)
    assert_resumed(whole, resumed, 2 * BATCHES)
    # And a third time, when nothing is left to do but the test; and a fourth.
    assert_resumed(whole, resume(half, config, run_dir / LAST), 3 * BATCHES)
    more = replace(config, max_epochs=4)
    longer = run_half(half, "resume", more, config.output_dir / "longer")
    assert_resumed(longer, resume(half, more, run_dir / LAST), 3 * BATCHES)


@pytest.mark.parametrize("half", ["plain_pytorch", slow("lightning")])
def test_an_older_file_begins_a_branch(config: ResumeConfig, half: str) -> None:
    config = replace(config, save_top_k=-1)
    run_dir = config.output_dir / "run"
    main(half, config, run_dir)
    before = contents(run_dir)
    older = run_dir / "checkpoints" / "epoch=0.ckpt"
    branch = config.output_dir / "branch"
    assert choose_run_dir(str(older), config.output_dir / half).name == "version_0"
    main(half, replace(config, ckpt_path=str(older)), branch)
    assert contents(run_dir) == before
    whole, resumed = (read_checkpoint(folder / LAST) for folder in (run_dir, branch))
    assert_equal(whole["state_dict"], resumed["state_dict"])
    assert len(names(branch)) == 3


OTHER_OPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"batch_size": 32}, "trained with --batch-size=64, and now it is 32"),
    ({"learning_rate": 0.1}, "trained with --learning-rate=0.001"),
    ({"seed": 1}, "give --seed=42"),
    ({"hidden_dim": 8}, "give --hidden-dim=64"),
    ({"limit_val_batches": None}, "give --limit-val-batches=3"),
    ({"save_top_k": 2}, "give --save-top-k=1"),
    ({"max_epochs": 1}, "saved after 2 epochs: give more --max-epochs"),
]

SGD = torch.optim.SGD(AutoEncoder().parameters(), lr=1e-3).state_dict()

OTHER_FILES: list[tuple[dict[str, Any], str]] = [
    ({"dataset": "mnist"}, "trained on mnist, and this is mnist-5k"),
    ({"dataset_digest": "0"}, "trained on other images of mnist-5k"),
    ({"optimizer_states": [SGD]}, "by another optimizer"),
    ({"state_dict": {"a": torch.zeros(1)}}, "of another architecture"),
]


@pytest.mark.parametrize("half", HALVES)
def test_another_run_is_refused_before_anything_is_written(
    config: ResumeConfig, half: str
) -> None:
    path = stop("plain_pytorch", config, config.output_dir / "run", 2 * BATCHES + 1)
    config = replace(config, ckpt_path=str(path))
    saved = read_checkpoint(path)
    cases = [(change, saved, line) for change, line in OTHER_OPTIONS]
    cases += [({}, saved | change, line) for change, line in OTHER_FILES]
    for key in ("loops", "optimizer_states", "rng_states", "config"):
        lacking = {name: saved[name] for name in saved if name != key}
        cases.append(({}, lacking, f"has no {key}, and nobody can go on"))
    for change, checkpoint, line in cases:
        write_checkpoint(path, checkpoint)
        before = contents(path.parents[1])
        with pytest.raises(CheckpointError, match=line) as error:
            main(half, replace(config, **change), path.parents[1])
        assert str(path) in str(error.value)
        # Not even its curves are touched: purging them is the logger's first act.
        assert contents(path.parents[1]) == before


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize(
    ("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_a_signal_waits_for_the_end_of_the_step(
    config: ResumeConfig,
    half: str,
    sent: signal.Signals,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reconstruction_loss = AutoEncoder.reconstruction_loss
    taken = 0

    def interrupted(model: AutoEncoder, images: Tensor) -> Tensor:
        nonlocal taken
        taken += torch.is_grad_enabled()
        if taken == 8:
            taken += 1
            os.kill(os.getpid(), sent)
        return reconstruction_loss(model, images)

    config = replace(config, every_n_train_steps=100, max_epochs=2)
    whole = run_half(half, "resume", config, config.output_dir / "whole")
    monkeypatch.setattr(signals, "held", [])
    with monkeypatch.context() as patch:
        patch.setattr(AutoEncoder, "reconstruction_loss", interrupted)
        with pytest.raises(SystemExit) as ended:
            main(half, config, config.output_dir / "stopped")
    assert ended.value.code == status
    monkeypatch.setattr(signals, "held", [])
    path = config.output_dir / "stopped" / LAST
    assert read_checkpoint(path)["global_step"] == 8
    assert_resumed(whole, resume(half, config, path), 8)


@pytest.mark.parametrize(
    ("half", "save_top_k"),
    [
        ("lightning", 2),
        slow("lightning", 1),
        slow("plain_pytorch", 1),
        slow("plain_pytorch", 2),
    ],
)
def test_a_run_that_was_moved_knows_its_best(
    config: ResumeConfig, half: str, save_top_k: int
) -> None:
    config = replace(config, save_top_k=save_top_k)
    whole = config.output_dir / "whole"
    main(half, config, whole)
    stop(half, config, config.output_dir / "stopped", 2 * BATCHES + 1)
    moved = (config.output_dir / "stopped").rename(config.output_dir / "moved")
    main(half, replace(config, ckpt_path=str(moved / LAST)), moved)
    assert names(moved) == names(whole)
    best = from_callbacks(
        read_checkpoint(moved / LAST)["callbacks"], moved / LAST.parent
    )
    assert len(best) == save_top_k
