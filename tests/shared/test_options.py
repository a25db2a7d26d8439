from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import pytest
import torch

from shared.options.checks import option_name
from shared.options.train import Config as TrainConfig
from shared.runtime.command import parse_config, to_arguments
from shared.runtime.errors import UsageError


def parse(*arguments: str) -> TrainConfig:
    return parse_config(TrainConfig, "program", "All about it.", [*arguments])


def test_defaults_are_those_of_the_tutorials() -> None:
    config = parse()
    assert config == TrainConfig()
    assert (config.batch_size, config.learning_rate, config.seed) == (64, 1e-3, 42)
    assert (config.max_epochs, config.hidden_dim, config.latent_dim) == (3, 64, 3)
    assert config.data_dir == Path("data")


def test_every_option_can_be_given(tmp_path: Path) -> None:
    given: dict[str, Any] = {
        "dataset": "mnist-5k",
        "data_dir": tmp_path,
        "output_dir": tmp_path / "out",
        "run_dir": tmp_path / "run",
        "max_epochs": 7,
        "batch_size": 5,
        "learning_rate": 0.5,
        "hidden_dim": 6,
        "latent_dim": 2,
        "seed": 0,
        "accelerator": "cpu",
        "num_workers": 1,
        "limit_train_batches": 3,
        "limit_val_batches": 2,
        "threads": 2,
    }
    assert given.keys() == {option.name for option in fields(TrainConfig)}
    options = [f"{option_name(name)}={value}" for name, value in given.items()]
    assert parse(*options) == TrainConfig(**given)


@dataclass(frozen=True)
class LessonConfig(TrainConfig):
    """Options of every kind that a lesson may have."""

    verbose: bool = False
    """Say more."""
    save: bool = True
    """Save."""
    images: list[Path] = field(default_factory=list)
    """Image files."""
    patience: int | None = None
    """Epochs to wait."""


@pytest.mark.parametrize(
    "config",
    [
        LessonConfig(),
        LessonConfig(verbose=True, save=False, patience=3, run_dir=Path("a b")),
        LessonConfig(images=[Path("a.png"), Path("b.png")]),
        LessonConfig(learning_rate=1e-30, limit_val_batches=1, output_dir=Path("-o")),
    ],
)
def test_arguments_made_of_a_configuration_give_it_again(config: LessonConfig) -> None:
    arguments = to_arguments(config)
    assert parse_config(LessonConfig, "program", None, arguments) == config


def test_every_option_has_a_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        parse("--help")
    text = capsys.readouterr().out
    assert "All about it." in text
    for option in fields(TrainConfig):
        assert f"{option_name(option.name)} " in text
    assert text.count("(default:") + text.count("(default\n") >= len(
        fields(TrainConfig)
    )


def test_a_checkpoint_may_hold_every_number() -> None:
    config = parse("--learning-rate", "0.5", "--batch-size", "3")
    assert type(config.learning_rate) is float
    assert type(config.batch_size) is int


def test_the_environment_s_data_dir_is_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DATA_DIR", "elsewhere")
    assert parse().data_dir == Path("elsewhere")
    assert parse("--data-dir", "here").data_dir == Path("here")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--dataset", "imagenet"], "--dataset"),
        (["--accelerator", "tpu"], "--accelerator"),
        (["--batch-size", "0"], "--batch-size 0: must be from 1 "),
        (["--batch-size", "1.5"], "--batch-size"),
        (["--max-epochs", "-1"], "--max-epochs -1: must be from 1 "),
        (["--batch-size", "9" * 20], "must be from 1 to 2147483647"),
        (["--threads", "10000000000"], "must be from 1 to 1024"),
        (["--learning-rate", "nan"], "--learning-rate must be above 0 and finite"),
        (["--learning-rate", "inf"], "--learning-rate must be above 0 and finite"),
        (["--learning-rate", "fast"], "--learning-rate"),
        (["--seed", "-1"], "--seed -1: must be from 0 "),
        (["--seed", str(2**32)], "must be from 0 to 4294967295"),
        (["--threads", "0"], "--threads 0: must be from 1 "),
        (["--num-workers", "-2"], "--num-workers -2: must be from 0 "),
        (["--limit-val-batches", "0"], "--limit-val-batches 0: must be from 1 "),
        (["--epochs", "3"], "--epochs"),
        (["--max-epochs"], "--max-epochs"),
        (["train"], "train"),
        pytest.param(
            ["--accelerator", "cuda"],
            "torch finds no GPU; try auto or cpu",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU"),
        ),
    ],
)
def test_a_bad_value_is_named(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse(*arguments)
    stdout, stderr = capsys.readouterr()
    assert stdout == ""
    assert said in " ".join(stderr.replace("│", "").split())


def test_a_configuration_made_in_python_is_checked_too() -> None:
    with pytest.raises(UsageError, match="--batch-size 0: must be from 1 "):
        TrainConfig(batch_size=0)
