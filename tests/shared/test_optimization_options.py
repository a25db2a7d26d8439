from dataclasses import fields, replace
from typing import Any

import pytest

from shared.options.optimization import OptimizationConfig
from shared.options.train import Parser
from shared.runtime.errors import UsageError
from tests.processes import run_forked


def parse(*arguments: str) -> OptimizationConfig:
    return Parser("program", OptimizationConfig).parse_config(list(arguments))


def test_defaults_are_those_of_a_trainer() -> None:
    config = parse()
    assert config == OptimizationConfig()
    assert (config.optimizer, config.accumulate_grad_batches) == ("adam", 1)
    assert (config.gradient_clip_val, config.gradient_clip_algorithm) == (None, "norm")


@pytest.mark.parametrize(
    "given",
    [
        {"accumulate_grad_batches": 4, "warmup_steps": 10, "gradient_clip_val": 0.5},
        {"gradient_clip_val": 0.1, "gradient_clip_algorithm": "value"},
        {"optimizer": "two", "decoder_learning_rate": 0.1},
        {"optimizer": "lbfgs", "gradient_clip_val": 1.0, "warmup_steps": 3},
    ],
    ids=str,
)
def test_options_come_back_from_their_command_line(given: dict[str, Any]) -> None:
    config = replace(OptimizationConfig(), **given)
    assert parse(*config.to_arguments()) == config


def test_every_option_has_a_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        parse("--help")
    text = capsys.readouterr().out
    assert text.count("default:") == len(fields(OptimizationConfig))


BAD = [
    ("--accumulate-grad-batches=0", "--accumulate-grad-batches: "),
    ("--accumulate-grad-batches=1.5", "--accumulate-grad-batches: "),
    ("--gradient-clip-val=0", "--gradient-clip-val: "),
    ("--gradient-clip-val=-1", "--gradient-clip-val: "),
    ("--gradient-clip-val=nan", "--gradient-clip-val: "),
    ("--gradient-clip-val=inf", "--gradient-clip-val: "),
    ("--gradient-clip-algorithm=both", "--gradient-clip-algorithm: "),
    ("--gradient-clip-algorithm=value", "value needs --gradient-clip-val"),
    ("--optimizer=sgd", "--optimizer: "),
    ("--warmup-steps=0", "--warmup-steps: "),
    ("--decoder-learning-rate=0", "--decoder-learning-rate: "),
    ("--optimizer=two --accumulate-grad-batches=2", "needs one optimizer"),
    ("--optimizer=two --gradient-clip-val=1", "needs one optimizer"),
    ("--optimizer=two --warmup-steps=2", "needs one optimizer"),
    ("--optimizer=lbfgs --accumulate-grad-batches=2", "raise --batch-size"),
    ("--optimizer=lbfgs --decoder-learning-rate=1", "LBFGS has one learning rate"),
]


@pytest.mark.parametrize(("arguments", "said"), BAD)
def test_bad_options_are_usage_errors(arguments: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as error:
        parse(*arguments.split())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "half", ["plain_pytorch", pytest.param("lightning", marks=pytest.mark.slow)]
)
def test_a_usage_error_ends_with_status_2(half: str) -> None:
    arguments = ["--optimizer=two", "--accumulate-grad-batches=2"]
    status, stdout, stderr = run_forked(f"{half}.optimization", *arguments)
    assert (status, stdout) == (2, "")
    assert stderr == "error: --accumulate-grad-batches needs one optimizer\n"
