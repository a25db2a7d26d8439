"""The newest checkpoint is found, and unusable ones are refused."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from shared.checkpoints.trained import newest_best, read_model
from shared.checkpoints.whole_files import CheckpointError, write_checkpoint
from shared.model import AutoEncoder
from shared.runtime.errors import UserError


def test_the_newest_of_both_halves_and_all_lessons(tmp_path: Path) -> None:
    runs = ["train/plain_pytorch/version_0", "train/lightning/version_0"]
    runs += ["checkpoint/lightning/version_10"]
    runs += ["train/version_0/plain_pytorch"]  # of make compare
    for newest in runs:
        for run in runs:
            path = tmp_path / run / "checkpoints" / "best.ckpt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            os.utime(path, ns=(0, 10**9 + (run == newest)))
        path.with_name("last.ckpt").touch()  # newer, and does not count
        assert newest_best(tmp_path) == tmp_path / newest / "checkpoints" / "best.ckpt"


def test_without_a_checkpoint_one_is_told_to_train(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "not there"):
        with pytest.raises(UserError, match=r"no best\.ckpt .* train first"):
            newest_best(folder)


def checkpoint() -> dict[str, Any]:
    """Return what a lesson writes, of an untrained model."""
    return {
        "pytorch-lightning_version": "2.6.6",
        "epoch": 0,
        "global_step": 12,
        "state_dict": AutoEncoder(8, 3).state_dict(),
        "hyper_parameters": {"hidden_dim": 8, "latent_dim": 3, "learning_rate": 0.1},
    }


def test_a_checkpoint_of_a_lesson_is_read(tmp_path: Path) -> None:
    whole = checkpoint()
    whole["hyper_parameters"]["momentum"] = 0.9  # some lessons have more of them
    write_checkpoint(tmp_path / "best.ckpt", whole)
    read = read_model(tmp_path / "best.ckpt")
    assert read["hyper_parameters"] == whole["hyper_parameters"]
    assert read["global_step"] == 12


GOOD = checkpoint()["hyper_parameters"]


@pytest.mark.parametrize(
    "changes",
    [
        {"hyper_parameters": None},
        {"hyper_parameters": {}},
        {"hyper_parameters": {**GOOD, "hidden_dim": "8"}},
        {"hyper_parameters": {**GOOD, "latent_dim": 10**30}},
        {"hyper_parameters": {**GOOD, "latent_dim": 2}},
        {"state_dict": {"layer": torch.ones(1)}},
        {"state_dict": {**AutoEncoder(8, 3).state_dict(), "more": torch.ones(1)}},
        {"state_dict": nn.Linear(2, 2).state_dict()},
    ],
)
def test_a_checkpoint_of_something_else_is_one_line(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    path = tmp_path / "best.ckpt"
    write_checkpoint(path, {**checkpoint(), **changes})
    said = f"{path} is not a checkpoint of an autoencoder: take"
    with pytest.raises(CheckpointError, match=said) as error:
        read_model(path)
    assert "\n" not in str(error.value)


def test_a_classifier_is_no_autoencoder(tmp_path: Path) -> None:
    runs = ["train/lightning/version_0", "transfer/plain_pytorch/version_0"]
    for age, run in enumerate(runs):
        path = tmp_path / run / "checkpoints" / "best.ckpt"
        path.parent.mkdir(parents=True)
        path.touch()
        os.utime(path, (age, age))
    assert newest_best(tmp_path) == tmp_path / runs[0] / "checkpoints" / "best.ckpt"
