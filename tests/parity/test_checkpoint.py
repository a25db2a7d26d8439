"""A run that goes on at an epoch's end ends as one that never stopped."""

import importlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import lightning.checkpoint
import plain_pytorch.checkpoint
from shared.checkpoints.whole_files import CheckpointError, read_checkpoint
from shared.data import EpochSampler
from shared.model import AutoEncoder
from shared.options.checkpoint import Config as CheckpointConfig
from shared.options.train import Config as TrainConfig
from shared.runtime.errors import UsageError
from tests.parity.halves import Ran, assert_same, run_half

HALVES = ["plain_pytorch", "lightning"]
BATCHES = 6


def slow(*values: Any) -> Any:
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.fixture
def config(small: TrainConfig) -> CheckpointConfig:
    options = vars(small) | {"max_epochs": 3, "limit_train_batches": BATCHES}
    return CheckpointConfig(**options)


def run(half: str, config: CheckpointConfig, name: str) -> tuple[Ran, Path]:
    """Run a half in a new folder; return what it did, and its folder of checkpoints."""
    run_dir = config.output_dir / f"{half} {name}"
    return run_half(half, "checkpoint", config, run_dir), run_dir / "checkpoints"


def assert_went_on(whole: Ran, resumed: Ran, step: int) -> None:
    """Fail unless a run that went on at a step did what one did that never stopped."""
    assert len(resumed.trace.steps) == len(whole.trace.steps) - step
    for then, now in zip(whole.trace.steps[step:], resumed.trace.steps, strict=True):
        assert replace(then, random={}) == replace(now, random={})
    assert whole.results.keys() == resumed.results.keys()
    for name, values in whole.results.items():
        if name in ("train_loss", "val_loss"):  # the points before are in the old run
            values = values[values[:, 0] >= step]
            assert len(values)
        assert torch.equal(values, resumed.results[name]), name


@pytest.mark.parametrize("writer", HALVES)
def test_either_half_goes_on_from_either_file(
    config: CheckpointConfig, writer: str
) -> None:
    _, folder = run(writer, replace(config, max_epochs=2), "short")
    config = replace(config, max_epochs=4)
    longer = replace(config, ckpt_path=folder / "last.ckpt")
    for half in HALVES:
        whole, _ = run(half, config, "whole")
        resumed, _ = run(half, longer, "resumed")
        assert_went_on(whole, resumed, 2 * BATCHES)


@pytest.mark.slow
@pytest.mark.parametrize("writer", HALVES)
def test_a_resumed_run_can_be_resumed(config: CheckpointConfig, writer: str) -> None:
    config = replace(config, max_epochs=4)
    for half in HALVES:
        whole, _ = run(half, config, f"whole {writer}")
        _, first = run(writer, replace(config, max_epochs=1), f"first {half}")
        second = replace(config, max_epochs=2, ckpt_path=first / "last.ckpt")
        _, folder = run(half, second, f"second {writer}")
        third = replace(config, ckpt_path=folder / "last.ckpt")
        assert_went_on(whole, run(half, third, f"third {writer}")[0], 2 * BATCHES)


def forget_the_optimizer(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(torch.optim.Adam, "load_state_dict", lambda adam, state: None)


def begin_with_the_order_of_epoch_0(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(EpochSampler, "set_epoch", lambda sampler, epoch: None)


@pytest.mark.parametrize(
    ("half", "mistake"),
    [
        ("plain_pytorch", forget_the_optimizer),
        ("lightning", begin_with_the_order_of_epoch_0),
    ],
)
def test_a_mistake_is_noticed(
    config: CheckpointConfig,
    half: str,
    mistake: Callable[[pytest.MonkeyPatch], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = replace(config, max_epochs=2)
    whole, _ = run(half, config, "whole")
    _, folder = run(half, replace(config, max_epochs=1), "short")
    mistake(monkeypatch)
    resumed, _ = run(half, replace(config, ckpt_path=folder / "last.ckpt"), "resumed")
    with pytest.raises(AssertionError):
        assert_went_on(whole, resumed, BATCHES)


VAL_LOSSES = [0.5, 0.7, 0.6, 0.7, 0.4, 0.9]


@pytest.mark.parametrize(
    ("save_top_k", "expected"),
    [
        slow(0, []),
        (1, ["best.ckpt"]),
        (2, ["epoch=0.ckpt", "epoch=4.ckpt"]),
        slow(3, ["epoch=0.ckpt", "epoch=2.ckpt", "epoch=4.ckpt"]),
        slow(-1, [f"epoch={epoch}.ckpt" for epoch in range(6)]),
    ],
)
def test_the_k_best_are_kept(
    config: CheckpointConfig,
    save_top_k: int,
    expected: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reconstruction_loss = AutoEncoder.reconstruction_loss
    epoch = -1

    def prescribed(model: AutoEncoder, images: torch.Tensor) -> torch.Tensor:
        nonlocal epoch
        if torch.is_grad_enabled():
            epoch += 1
            return reconstruction_loss(model, images)
        return torch.tensor(VAL_LOSSES[max(epoch, 0)])

    monkeypatch.setattr(AutoEncoder, "reconstruction_loss", prescribed)
    config = replace(config, max_epochs=6, limit_train_batches=1, limit_val_batches=1)
    config = replace(config, save_top_k=save_top_k)
    runs = []
    for half in HALVES:
        epoch = -1
        ran, folder = run(half, config, "")
        runs.append(ran)
        names = sorted(path.name for path in folder.iterdir())
        assert names == [*expected, "last.ckpt"]
    if save_top_k == 1:
        assert read_checkpoint(folder / "best.ckpt")["epoch"] == 4
    assert_same(*runs)


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("save_top_k", [0, 1])
def test_the_last_is_saved_only_if_asked_for(
    config: CheckpointConfig, half: str, save_top_k: int
) -> None:
    config = replace(config, save_last=False, save_top_k=save_top_k, max_epochs=1)
    run(half, config, "")
    saved = [path.name for path in config.output_dir.rglob("*.ckpt")]
    assert saved == ["best.ckpt"] * save_top_k


def test_the_encoder_alone(config: CheckpointConfig) -> None:
    images = torch.rand(5, 784)
    folders = [run(half, replace(config, max_epochs=1), "")[1] for half in HALVES]
    outputs = [
        module.load_encoder(folder / "last.ckpt")(images)
        for module in (plain_pytorch.checkpoint, lightning.checkpoint)
        for folder in folders
    ]
    assert all(torch.equal(output, outputs[0]) for output in outputs)
    # With the prefix, strict=False loads nothing, and only its answer says so.
    encoder = AutoEncoder(config.hidden_dim, config.latent_dim).encoder
    before = encoder(images)
    weights = read_checkpoint(folders[0] / "last.ckpt")["state_dict"]
    answer = encoder.load_state_dict(weights, strict=False)
    assert len(answer.missing_keys) == len(list(encoder.parameters()))
    assert torch.equal(encoder(images), before)


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def without(key: str) -> Callable[[Path], None]:
    def remove(path: Path) -> None:
        checkpoint = torch.load(path, weights_only=True)
        del checkpoint[key]
        torch.save(checkpoint, path)

    return remove


def inside_an_epoch(path: Path) -> None:
    checkpoint = torch.load(path, weights_only=True)
    progress = checkpoint["loops"]["fit_loop"]
    progress["epoch_progress"]["current"]["processed"] = 0
    progress["epoch_loop.batch_progress"]["current"]["processed"] = 3
    torch.save(checkpoint, path)


WRONG: list[tuple[Callable[[Path], object] | None, dict[str, Any], str]] = [
    (flip_a_bit, {}, "truncated or damaged"),
    (cut, {}, "truncated or damaged"),
    (Path.unlink, {}, "cannot be read"),
    (without("loops"), {}, "does not say where its training stands"),
    (inside_an_epoch, {}, "inside epoch 0: the lesson resume"),
    (None, {"max_epochs": 1}, "after 1 epochs: give more --max-epochs"),
    (None, {"hidden_dim": 8}, "trained with --hidden-dim=64, and now it is 8"),
    (None, {"learning_rate": 0.1}, "give --learning-rate=0.001"),
]


@pytest.mark.parametrize("half", HALVES)
def test_a_wrong_file_is_refused_before_anything_is_written(
    config: CheckpointConfig, half: str
) -> None:
    _, folder = run("plain_pytorch", replace(config, max_epochs=1), "short")
    path = folder / "last.ckpt"
    good = path.read_bytes()
    main = importlib.import_module(f"{half}.checkpoint").main
    run_dir = config.output_dir / "new"
    run_dir.mkdir()
    for damage, change, line in WRONG:
        path.write_bytes(good)
        if damage:
            damage(path)
        with pytest.raises(CheckpointError, match=line) as error:
            main(replace(config, ckpt_path=path, **change), run_dir)
        assert str(path) in str(error.value)
        assert not list(run_dir.iterdir())


def test_wrong_options(config: CheckpointConfig) -> None:
    with pytest.raises(UsageError, match="--save-top-k -2"):
        replace(config, save_top_k=-2)
