from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch

from shared.options.train import Parser, TrainConfig
from shared.runtime.errors import UsageError


def parse(*arguments: str) -> TrainConfig:
    return Parser("program", TrainConfig).parse_config(list(arguments))


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
        "limit_test_batches": 1,
        "threads": 2,
    }
    assert given.keys() == {option.name for option in fields(TrainConfig)}
    options = [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]
    assert parse(*options) == TrainConfig(**given)


def test_every_option_has_a_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        parse("--help")
    text = capsys.readouterr().out
    for option in fields(TrainConfig):
        assert f"--{option.name.replace('_', '-')} " in text
    assert text.count("default:") == len(fields(TrainConfig))


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
        (["--dataset", "imagenet"], "--dataset: .*'mnist-5k'.*imagenet"),
        (["--accelerator", "tpu"], "--accelerator: .*'cuda'.*tpu"),
        (["--batch-size", "0"], "--batch-size: 0 .*v>0"),
        (["--batch-size", "1.5"], "--batch-size: .*1.5"),
        (["--max-epochs", "-1"], "--max-epochs: -1 .*v>0"),
        (["--batch-size", "9" * 20], "--batch-size: 9+ .*v<2147483648"),
        (["--threads", "10000000000"], "--threads: .*v<=1024"),
        (["--learning-rate", "nan"], "--learning-rate: nan .*v>0"),
        (["--learning-rate", "inf"], "--learning-rate: inf .*v<inf"),
        (["--learning-rate", "fast"], "--learning-rate: .*fast"),
        (["--seed", "-1"], "--seed: -1 .*v>=0"),
        (["--seed", str(2**32)], "--seed: 4294967296 .*v<4294967296"),
        (["--threads", "0"], "--threads: 0 .*v>0"),
        (["--num-workers", "-2"], "--num-workers: -2 .*v>=0"),
        (["--limit-val-batches", "0"], "--limit-val-batches: .*v>0"),
        (["--epochs", "3"], "--epochs"),
        (["--max-epochs"], "--max-epochs: expected one argument"),
        (["train"], "train"),
    ],
)
def test_a_bad_value_is_named_in_one_line(arguments: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said) as error:
        parse(*arguments)
    assert "\n" not in str(error.value)
    assert error.value.exit_status == 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_cuda_without_a_gpu_is_refused() -> None:
    with pytest.raises(UsageError, match="no GPU; try auto or cpu"):
        parse("--accelerator", "cuda")
    assert not parse("--accelerator", "auto").use_cuda
