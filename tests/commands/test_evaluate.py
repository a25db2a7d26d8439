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
from shared.options.evaluate import EvaluateConfig
from shared.options.train import Config, Parser, TrainConfig
from shared.runtime.command import config_class
from shared.runtime.errors import UserError
from shared.runtime.run_dir import say_what_is_saved
from tests.processes import run_forked

HALVES = ["plain_pytorch", "lightning"]


@pytest.fixture
def tiny(small: TrainConfig) -> EvaluateConfig:
    """Return the options of an evaluation of a second; no checkpoint is there yet."""
    shared = {option.name: getattr(small, option.name) for option in fields(Config)}
    return EvaluateConfig(**{**shared, "dataset": "auto"}, limit_predict_batches=2)


def write(path: Path, **changes: Any) -> Path:
    """Write a checkpoint of an untrained model, as a lesson does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    checkpoint = {
        "pytorch-lightning_version": "2.6.6",
        "epoch": 0,
        "global_step": 12,
        "state_dict": AutoEncoder(8, 3).state_dict(),
        "hyper_parameters": {"hidden_dim": 8, "latent_dim": 3, "learning_rate": 0.1},
        "dataset": "mnist-5k",
    }
    torch.save({**checkpoint, **changes}, path)
    return path


def best(config: Config, run: str) -> Path:
    """Return where a run has its best checkpoint."""
    return config.output_dir / run / "checkpoints" / "best.ckpt"


@pytest.mark.slow
def test_both_halves_say_and_leave_what_they_should(tiny: EvaluateConfig) -> None:
    path = write(best(tiny, "lightning/train/version_0"))
    Image.new("L", (40, 60), 255).save(tiny.output_dir / "my.png")
    arguments = replace(tiny, image=tiny.output_dir / "my.png").to_arguments()
    status, stdout, stderr = run_forked("compare", "evaluate", *arguments)
    assert status == 0
    assert "site-packages" not in stderr  # no warning, from whichever library
    assert "litmodels" not in stderr
    halves, table = stdout.split("\nThe runs are in ")
    output_dir = tiny.output_dir / "compare" / "evaluate" / "version_0"
    for half, said in zip(HALVES, halves.split("--- ")[1:], strict=True):
        run_dir = output_dir / half / "evaluate" / "version_0"
        name, *_, embedding, checkpoint, dataset, loss, files, logs = said.splitlines()
        assert name == half
        assert len(embedding.removeprefix("image's embedding").split()) == 3
        assert checkpoint.split() == ["checkpoint", str(path)]
        assert dataset.split() == ["data", "set", "mnist-5k"]
        assert loss.startswith("test loss             ")
        assert files.split() == ["pictures,", "embeddings", str(run_dir)]
        assert logs.endswith(f" tensorboard --logdir {output_dir}")
        assert_written(run_dir)
    _, *rows, _seconds, verdict = [
        line.split() for line in table.split("largest difference\n")[1].splitlines()
    ]
    assert verdict == ["same"]
    pictures = ["embeddings.png", "image.png", "reconstructions.png"]
    names = ["test_loss", "embeddings", "labels", *pictures]
    assert [row[0] for row in rows] == names
    assert {row[-1] for row in rows} == {"0"}


def assert_written(run_dir: Path) -> None:
    """Fail unless a run of two batches and an image has left its files, whole."""
    with np.load(run_dir / "embeddings.npz") as arrays:
        assert arrays["embeddings"].shape == (128, 3)
        assert arrays["labels"].shape == (128,)
    for name in ("embeddings", "reconstructions", "image"):
        with Image.open(run_dir / f"{name}.png") as picture:
            assert (picture.size, picture.mode) == ((1280, 960), "RGB")
            assert picture.info == {}  # no date that would make each file another
    assert not list(run_dir.rglob("*.ckpt"))
    assert not list(run_dir.rglob("*.part"))


def evaluate(half: str, config: EvaluateConfig) -> None:
    """Run one half in this process."""
    run_dir = config.output_dir / half / "evaluate" / "version_0"
    run_dir.mkdir(parents=True)
    importlib.import_module(f"{half}.evaluate").main(config, run_dir)


@pytest.mark.parametrize("half", HALVES)
def test_the_newest_checkpoint_is_taken_and_said(
    tiny: EvaluateConfig, half: str, capsys: pytest.CaptureFixture[str]
) -> None:
    older, newest = (
        write(best(tiny, run), global_step=step)
        for step, run in enumerate(
            ["lightning/train/version_1", "plain_pytorch/x/version_0"]
        )
    )
    os.utime(older, (0, 0))
    evaluate(half, tiny)
    assert f"checkpoint            {newest}\n" in capsys.readouterr().out
    assert (tiny.output_dir / half / "evaluate/version_0/00001/embeddings").exists()


@pytest.mark.parametrize("half", HALVES)
def test_another_data_set_may_be_named(
    tiny: EvaluateConfig, half: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = write(tmp_path / "best.ckpt", dataset="fashion-mnist")
    evaluate(half, replace(tiny, ckpt_path=path, dataset="mnist-5k"))
    said = "data set              mnist-5k (the checkpoint is of fashion-mnist)\n"
    assert said in capsys.readouterr().out


def test_auto_is_what_the_checkpoint_names(tiny: EvaluateConfig) -> None:
    named = tiny.with_dataset_of({"dataset": "fashion-mnist"})
    assert named == replace(tiny, dataset="fashion-mnist")
    assert tiny.with_dataset_of({}) == tiny
    given = replace(tiny, dataset="mnist")
    assert given.with_dataset_of({"dataset": "fashion-mnist"}) == given
    with pytest.raises(UserError, match=r"data set cifar10: .* mnist-5k, fashion"):
        tiny.with_dataset_of({"dataset": "cifar10"})


def damage(path: Path) -> None:
    """Flip a bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


BAD_CHECKPOINTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (Path.unlink, "cannot be read: No such file"),
    "damaged": (damage, "truncated or damaged"),
    "text": (lambda path: path.write_text("weights"), "not a file of torch.save"),
    "no arguments": (lambda path: write(path, hyper_parameters=None), "no hyper_param"),
    "of another size": (
        lambda path: write(path, state_dict=AutoEncoder(8, 2).state_dict()),
        "do not describe",
    ),
    "of another data set": (lambda path: write(path, dataset="cifar10"), "cifar10"),
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


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "is missing"), (b"no image", "no image that can be read")],
)
def test_a_bad_image_is_refused_before_anything_is_written(
    tiny: EvaluateConfig, half: str, content: bytes | None, said: str, tmp_path: Path
) -> None:
    image = tmp_path / "bad.png"
    if content:
        image.write_bytes(content)
    checkpoint = write(tmp_path / "good.ckpt")
    assert_refused(half, replace(tiny, ckpt_path=checkpoint, image=image), said)


def assert_refused(half: str, config: EvaluateConfig, said: str) -> None:
    """Fail unless a half raises an error that says this, and writes nothing."""
    with pytest.raises(UserError, match=said):
        evaluate(half, config)
    assert not [path for path in config.output_dir.rglob("*") if path.is_file()]


@pytest.mark.parametrize("half", HALVES)
def test_a_refusal_is_one_line_and_leaves_no_folder(
    tiny: EvaluateConfig, half: str, tmp_path: Path
) -> None:
    config = replace(tiny, ckpt_path=write(tmp_path / "good.ckpt"), image=tmp_path)
    status, stdout, stderr = run_forked(f"{half}.evaluate", *config.to_arguments())
    assert (status, stdout) == (1, "")
    assert stderr.startswith(f"error: {tmp_path} is no file")
    assert stderr.count("\n") == 1
    assert not list(tiny.output_dir.iterdir())


def test_an_evaluation_that_is_cut_short_says_what_is_saved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "events.out").touch()
    say_what_is_saved(tmp_path)
    assert capsys.readouterr().err == f"\nnothing saved yet but logs, in {tmp_path}\n"
    (tmp_path / "embeddings.npz").touch()
    (tmp_path / "reconstructions.png").touch()
    say_what_is_saved(tmp_path)
    saved = f"{tmp_path}/embeddings.npz {tmp_path}/reconstructions.png"
    assert capsys.readouterr().err == f"\nsaved so far: {saved}\n"


def test_both_halves_take_the_same_options_and_none_of_a_training(
    tiny: EvaluateConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    for half in HALVES:
        main = importlib.import_module(f"{half}.evaluate").main
        parser = Parser("program", config_class(main))
        assert parser.parse_config(tiny.to_arguments()) == tiny
        with pytest.raises(UserError, match=r"--limit-predict-batches: .*v>0"):
            parser.parse_config(["--limit-predict-batches=0"])
        with pytest.raises(UserError, match="--max-epochs"):
            parser.parse_config(["--max-epochs=1"])
        with pytest.raises(SystemExit):
            parser.parse_config(["--help"])
        text = capsys.readouterr().out
        assert text.count("default:") == len(fields(EvaluateConfig))
