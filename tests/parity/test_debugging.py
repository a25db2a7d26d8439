"""The lesson debugging: each option alone changes both halves alike, to the last bit."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from compare.difference import compare_runs
from compare.results import read_results
from compare.run import Run
from compare.trace import trace
from lightning.debugging import main as lightning_main
from plain_pytorch.debugging import main as plain_main
from shared.config import TrainConfig
from shared.errors import UserError
from shared.model import AutoEncoder
from shared.options.debugging import DebuggingConfig
from tests.parity.halves import Ran, assert_same, run_half

HALVES = ["plain_pytorch", "lightning"]
MAINS = {"plain_pytorch": plain_main, "lightning": lightning_main}


@pytest.fixture
def config(small: TrainConfig) -> DebuggingConfig:
    return DebuggingConfig(**vars(small))


def run_both(config: DebuggingConfig) -> tuple[Ran, Ran]:
    plain, lightning = (
        run_half(half, "debugging", config, config.output_dir / half) for half in HALVES
    )
    return plain, lightning


def images_seen(run: Run) -> list[str]:
    """Return what tells the batches of a run's steps apart."""
    return [str(step["batch"]) for step in run.steps]


def test_without_options_it_is_the_lesson_train(
    config: DebuggingConfig, small: TrainConfig
) -> None:
    plain, lightning = run_both(config)
    assert_same(plain, lightning)
    train = run_half("plain_pytorch", "train", small, small.output_dir / "train")
    for name, values in train.results.items():
        assert torch.equal(values, plain.results[name]), name


@pytest.mark.usefixtures("dropout")
def test_the_summary_moves_no_random_number(
    config: DebuggingConfig, small: TrainConfig
) -> None:
    debugged = run_both(config)
    assert_same(*debugged)
    train = run_half("plain_pytorch", "train", small, small.output_dir / "train")
    for name, values in train.results.items():
        assert torch.equal(values, debugged[0].results[name]), name
