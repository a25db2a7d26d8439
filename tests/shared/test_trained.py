"""Which checkpoint is the newest, and which ones make a model."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from shared.backbones import Classifier
from shared.checkpoints.trained import newest_best, read_classifier, read_model
from shared.checkpoints.whole_files import CheckpointError, write_checkpoint
from shared.model import AutoEncoder
from shared.runtime.errors import UserError


def test_the_newest_of_both_halves_and_all_lessons(tmp_path: Path) -> None:
    runs = ["plain_pytorch/train/version_0", "lightning/train/version_0"]
    runs += ["lightning/checkpoint/version_10"]
    runs += ["compare/train/version_0/plain_pytorch/train/version_0"]
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
        "dataset": "mnist-5k",
    }


def test_arguments_of_other_lessons_are_left_out(tmp_path: Path) -> None:
    whole = checkpoint()
    given = dict(whole["hyper_parameters"])
    whole["hyper_parameters"]["momentum"] = 0.9
    write_checkpoint(tmp_path / "best.ckpt", whole)
    read = read_model(tmp_path / "best.ckpt")
    assert read["hyper_parameters"] == given
    assert read["global_step"] == 12


NAN = {name: w * torch.nan for name, w in AutoEncoder(8, 3).state_dict().items()}
GOOD = checkpoint()["hyper_parameters"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hyper_parameters": None}, "no hyper_parameters"),
        ({"hyper_parameters": {}}, "None as hidden_dim"),
        ({"hyper_parameters": {**GOOD, "hidden_dim": "8"}}, "8 as hidden_dim"),
        ({"hyper_parameters": {**GOOD, "hidden_dim": True}}, "True as hidden_dim"),
        ({"hyper_parameters": {**GOOD, "latent_dim": 0}}, "0 as latent_dim"),
        ({"hyper_parameters": {**GOOD, "latent_dim": 3.0}}, "3.0 as latent_dim"),
        ({"hyper_parameters": {**GOOD, "latent_dim": 10**30}}, "0 as latent_dim"),
        ({"hyper_parameters": {**GOOD, "hidden_dim": 2**23}}, "do not describe"),
        ({"hyper_parameters": {**GOOD, "latent_dim": 2}}, "do not describe"),
        (
            {"hyper_parameters": {**GOOD, "learning_rate": torch.nan}},
            "nan as learning_rate",
        ),
        ({"hyper_parameters": {**GOOD, "_instantiator": "os.system"}}, "LightningCLI"),
        ({"state_dict": {"layer": torch.ones(1)}}, "do not describe"),
        ({"state_dict": NAN}, "not finite"),
        ({"global_step": None}, "None as global_step"),
        ({"global_step": -1}, "-1 as global_step"),
        ({"pytorch-lightning_version": None}, "None as pytorch-lightning_version"),
        ({"pytorch-lightning_version": "new"}, "new as pytorch-lightning_version"),
    ],
)
def test_what_makes_no_model_is_one_line(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    path = tmp_path / "best.ckpt"
    write_checkpoint(path, {**checkpoint(), **changes})
    with pytest.raises(CheckpointError, match=said) as error:
        read_model(path)
    assert str(error.value).startswith(f"{path} ")
    assert "\n" not in str(error.value)


def test_a_classifier_is_no_autoencoder(tmp_path: Path) -> None:
    runs = ["lightning/train/version_0", "plain_pytorch/transfer/version_0"]
    for age, run in enumerate(runs):
        path = tmp_path / run / "checkpoints" / "best.ckpt"
        path.parent.mkdir(parents=True)
        path.touch()
        os.utime(path, (age, age))
    assert newest_best(tmp_path) == tmp_path / runs[0] / "checkpoints" / "best.ckpt"


@pytest.mark.parametrize("backbone", ["resnet50", 18, None, "encoder"])
def test_a_classifier_of_an_unknown_backbone_is_refused(
    tmp_path: Path, backbone: Any
) -> None:
    arguments = {"backbone": backbone, "hidden_dim": 8, "latent_dim": 3}
    checkpoint = {
        "pytorch-lightning_version": "2.6.6",
        "global_step": 12,
        "state_dict": Classifier("encoder", 8, 3).state_dict(),
        "hyper_parameters": {**arguments, "learning_rate": 0.1},
    }
    write_checkpoint(tmp_path / "best.ckpt", checkpoint)
    if backbone == "encoder":
        read = read_classifier(tmp_path / "best.ckpt")
        assert read["hyper_parameters"] == checkpoint["hyper_parameters"]
    else:
        with pytest.raises(CheckpointError, match=f"has {backbone} as backbone"):
            read_classifier(tmp_path / "best.ckpt")
