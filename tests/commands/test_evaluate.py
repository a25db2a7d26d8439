"""The commands of the lesson evaluate: what they choose, print, leave and refuse."""

import importlib
import os
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from shared.model import AutoEncoder
from shared.options.common import RunConfig
from shared.options.evaluate import Config as EvaluateConfig
from shared.options.train import Config as TrainConfig
from shared.runtime.command import to_arguments
from shared.runtime.errors import UsageError, UserError
from tests.processes import run, run_forked

HALVES = ["plain_pytorch", "lightning"]


@pytest.fixture
def tiny(small: TrainConfig) -> EvaluateConfig:
    """Return the options of an evaluation of a second; no checkpoint is there yet."""
    shared = {option.name: getattr(small, option.name) for option in fields(RunConfig)}
    return EvaluateConfig(**shared, limit_test_batches=2, limit_predict_batches=2)


def write(path: Path, **changes: Any) -> Path:
    """Write a checkpoint of an untrained model, as a lesson does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    checkpoint = {
        "pytorch-lightning_version": "2.6.6",
        "epoch": 0,
        "global_step": 12,
        "state_dict": AutoEncoder(8, 3).state_dict(),
        "hyper_parameters": {"hidden_dim": 8, "latent_dim": 3, "learning_rate": 0.1},
    }
    torch.save({**checkpoint, **changes}, path)
    return path


def best(config: RunConfig, run: str) -> Path:
    """Return where a run has its best checkpoint."""
    return config.output_dir / run / "checkpoints" / "best.ckpt"


@pytest.mark.slow
def test_both_halves_say_and_leave_what_they_should(tiny: EvaluateConfig) -> None:
    path = write(best(tiny, "train/lightning/version_0"))
    Image.new("L", (40, 60), 255).save(tiny.output_dir / "my.png")
    config = replace(tiny, image=tiny.output_dir / "my.png")
    status, stdout, stderr = run("compare", "evaluate", *to_arguments(config))
    assert status == 0
    assert "site-packages" not in stderr  # no warning, from whichever library
    halves, table = stdout.split("\nThe runs are in ")
    for half, said in zip(HALVES, halves.split("--- ")[1:], strict=True):
        run_dir = tiny.output_dir / "evaluate" / "version_0" / half
        assert f"test loss of {path}: " in said
        assert "embedding of your image: " in said
        assert f"The run is in {run_dir}" in said
        assert_written(run_dir)
    _, *rows, _seconds, verdict = [
        line.split() for line in table.split("largest difference\n")[1].splitlines()
    ]
    assert verdict == ["same"]
    pictures = ["embeddings.png", "image.png", "reconstructions.png"]
    names = {"test_loss", "embeddings", "labels", *pictures}
    assert names <= {row[0] for row in rows}
    assert {row[-1] for row in rows} == {"0"}


def assert_written(run_dir: Path) -> None:
    """Fail unless a run of two batches and an image has left its files."""
    with np.load(run_dir / "embeddings.npz") as arrays:
        assert arrays["embeddings"].shape == (128, 3)
        assert arrays["labels"].shape == (128,)
    sizes = {"embeddings": (1000, 800), "reconstructions": (302, 62), "image": (32, 62)}
    for name, size in sizes.items():
        with Image.open(run_dir / f"{name}.png") as picture:
            assert picture.size == size
    assert not list(run_dir.rglob("*.ckpt"))


def evaluate(half: str, config: EvaluateConfig) -> None:
    """Run one half in this process."""
    run_dir = config.output_dir / "evaluate" / half / "version_0"
    run_dir.mkdir(parents=True)
    importlib.import_module(f"{half}.evaluate").main(config, run_dir)


@pytest.mark.parametrize("half", HALVES)
def test_the_newest_checkpoint_is_taken_and_said(
    tiny: EvaluateConfig, half: str, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = ["train/lightning/version_1", "x/version_0/plain_pytorch"]
    older, newest = (write(best(tiny, run)) for run in runs)
    os.utime(older, (0, 0))
    evaluate(half, tiny)
    assert f"test loss of {newest}: " in capsys.readouterr().out
    assert tiny.for_comparison() == replace(tiny, ckpt_path=newest)
    given = replace(tiny, ckpt_path=older)
    assert given.for_comparison() == given


def damage(path: Path) -> None:
    """Flip a bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


BAD_CHECKPOINTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (Path.unlink, "cannot be read: No such file"),
    "damaged": (damage, "truncated or damaged"),
    "text": (lambda path: path.write_text("weights"), "not a file of torch.save"),
    "no arguments": (lambda path: write(path, hyper_parameters=None), "is not a check"),
    "of another size": (
        lambda path: write(path, state_dict=AutoEncoder(8, 2).state_dict()),
        "is not a checkpoint of an autoencoder",
    ),
}


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("kind", BAD_CHECKPOINTS)
def test_a_bad_checkpoint_is_refused_before_anything_is_written(
    tiny: EvaluateConfig, half: str, kind: str, tmp_path: Path
) -> None:
    spoil, said = BAD_CHECKPOINTS[kind]
    path = write(tmp_path / "bad.ckpt")
    spoil(path)
    assert_refused(half, replace(tiny, ckpt_path=path), said)


@pytest.mark.parametrize("half", HALVES)
def test_without_a_checkpoint_one_is_told_to_train(
    tiny: EvaluateConfig, half: str
) -> None:
    said = rf"no best\.ckpt of a run in {tiny.output_dir}: train first"
    assert_refused(half, tiny, said)


def assert_refused(half: str, config: EvaluateConfig, said: str) -> None:
    """Fail unless a half raises an error that says this, and writes nothing."""
    with pytest.raises(UserError, match=said):
        evaluate(half, config)
    assert not [path for path in config.output_dir.rglob("*") if path.is_file()]


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "No such file"), (b"no image", "cannot identify image file")],
)
def test_a_bad_image_is_one_line_and_leaves_no_folder(
    tiny: EvaluateConfig, half: str, content: bytes | None, said: str, tmp_path: Path
) -> None:
    image = tmp_path / "bad.png"
    if content:
        image.write_bytes(content)
    config = replace(tiny, ckpt_path=write(tmp_path / "good.ckpt"), image=image)
    status, stdout, stderr = run_forked(f"{half}.evaluate", *to_arguments(config))
    assert (status, stdout) == (1, "")
    assert stderr.startswith("error: ")
    assert said in stderr
    assert stderr.count("\n") == 1
    assert not list(tiny.output_dir.rglob("version_*"))


@pytest.mark.parametrize("option", ["limit_test_batches", "limit_predict_batches"])
def test_wrong_options(tiny: EvaluateConfig, option: str) -> None:
    wrong: dict[str, Any] = {option: 0}
    with pytest.raises(UsageError, match="0: must be from 1"):
        replace(tiny, **wrong)


@pytest.mark.parametrize("half", HALVES)
def test_an_option_of_a_training_is_refused(half: str) -> None:
    status, _, stderr = run_forked(f"{half}.evaluate", "--max-epochs=1")
    assert status == 2
    assert "--max-epochs" in stderr
