"""The commands of the lesson transfer: what they print, refuse, and do without."""

import importlib
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from PIL import Image

from shared.backbones import Classifier
from shared.model import AutoEncoder
from shared.options.train import Parser, TrainConfig
from shared.options.transfer import TransferConfig
from shared.runtime.command import config_class
from shared.runtime.errors import UserError
from tests.processes import run

HALVES = ["plain_pytorch", "lightning"]


@pytest.fixture
def tiny(small: TrainConfig) -> TransferConfig:
    """Return the options of a run of a second; no checkpoint is there yet."""
    return TransferConfig(**{**vars(small), "max_epochs": 1})


def write(path: Path, classifier: bool, **other: Any) -> Path:
    """Write a checkpoint of an untrained model, as the lessons do."""
    arguments = {"hidden_dim": 8, "latent_dim": 3, "learning_rate": 0.1}
    checkpoint = {
        "pytorch-lightning_version": "2.6.6",
        "epoch": 0,
        "global_step": 12,
        "state_dict": AutoEncoder(8, 3).state_dict(),
        "hyper_parameters": arguments,
        "dataset": "mnist-5k",
    }
    if classifier:
        checkpoint["state_dict"] = Classifier("encoder", 8, 3).state_dict()
        checkpoint["hyper_parameters"] = {"backbone": "encoder", **arguments}
    checkpoint.update(other)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(checkpoint, path)
    return path


def transfer(half: str, config: TransferConfig) -> None:
    """Run one half in this process."""
    run_dir = config.output_dir / half / "transfer" / "version_0"
    run_dir.mkdir(parents=True, exist_ok=True)
    importlib.import_module(f"{half}.transfer").main(config, run_dir)


def assert_refused(half: str, config: TransferConfig, said: str) -> None:
    """Fail unless a half raises an error that says this, and writes nothing."""
    before = {path for path in config.output_dir.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match=said) as error:
        transfer(half, config)
    assert "\n" not in str(error.value)
    after = {path for path in config.output_dir.rglob("*") if path.is_file()}
    assert not [path for path in after - before if "events" not in path.name]


@pytest.mark.slow
def test_both_halves_say_and_leave_the_same(tiny: TransferConfig) -> None:
    best = tiny.output_dir / "plain_pytorch/train/version_0/checkpoints/best.ckpt"
    write(best, classifier=False)
    # That of this lesson is newer, and no autoencoder.
    write(tiny.output_dir / "lightning/transfer/version_0/checkpoints/best.ckpt", True)
    image = tiny.output_dir / "my.png"
    Image.new("L", (40, 60), 255).save(image)
    config = replace(tiny, dataset="auto", predict=[image, image])
    status, stdout, stderr = run("compare", "transfer", *config.to_arguments())
    assert status == 0, stderr
    assert "site-packages" not in stderr  # no warning, from whichever library
    halves, table = stdout.split("\nThe runs are in ")
    plain, lightning = (
        [line for line in said.splitlines() if line.startswith((str(image), "test a"))]
        for said in halves.split("--- ")[1:]
    )
    assert len(plain) == 3
    assert plain == lightning
    assert "best.ckpt" in table
    assert table.endswith("same\n")


@pytest.mark.parametrize("half", HALVES)
def test_without_a_checkpoint_one_is_told_to_train(
    tiny: TransferConfig, half: str
) -> None:
    write(tiny.output_dir / "lightning/transfer/version_0/checkpoints/best.ckpt", True)
    assert_refused(half, tiny, r"no best\.ckpt .*: train first .* with --weights")


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize(
    ("option", "classifier", "said"),
    [
        ("weights", True, "do not describe"),
        ("ckpt_path", False, "None as backbone .* that the lesson transfer wrote"),
    ],
)
def test_the_other_kind_of_checkpoint_is_refused(
    tiny: TransferConfig,
    half: str,
    option: str,
    classifier: bool,
    said: str,
    tmp_path: Path,
) -> None:
    path = write(tmp_path / "best.ckpt", classifier)
    given: dict[str, Any] = {option: str(path) if option == "weights" else path}
    assert_refused(half, replace(tiny, **given), said)


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize(
    ("trained_on", "dataset"),
    [
        ("fashion-mnist", "mnist-5k"),
        ("mnist", "fashion-mnist"),
        ("mnist", "cifar10"),
        (None, "cifar10"),  # written elsewhere: of what images, nobody knows
    ],
)
def test_a_checkpoint_of_other_classes_is_refused(
    tiny: TransferConfig, half: str, trained_on: str, dataset: Any, tmp_path: Path
) -> None:
    path = write(tmp_path / "best.ckpt", True, dataset=trained_on)
    config = replace(tiny, backbone="resnet18", dataset=dataset, ckpt_path=path)
    said = rf"best\.ckpt is of {trained_on}, .* of {dataset}: leave out --dataset"
    assert_refused(half, config, said)


@pytest.mark.parametrize(
    ("trained_on", "dataset", "taken"),
    [
        ("mnist", "mnist-5k", "mnist-5k"),
        ("mnist-5k", "mnist", "mnist"),
        ("fashion-mnist", "auto", "fashion-mnist"),
        ("fashion-mnist", "fashion-mnist", "fashion-mnist"),
        ("my own", "mnist-5k", "mnist-5k"),
    ],
)
def test_a_checkpoint_of_the_same_classes_is_taken(
    tiny: TransferConfig, trained_on: str, dataset: Any, taken: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "best.ckpt", True, dataset=trained_on)
    config = replace(tiny, dataset=dataset, ckpt_path=path).resolved()
    assert config.dataset == taken


def test_the_checkpoint_says_the_backbone(tiny: TransferConfig, tmp_path: Path) -> None:
    path = write(
        tmp_path / "best.ckpt",
        True,
        state_dict=Classifier("resnet18", 8, 3).state_dict(),
        hyper_parameters={
            "backbone": "resnet18",
            "hidden_dim": 8,
            "latent_dim": 3,
            "learning_rate": 0.1,
        },
        dataset="cifar10",
    )
    parser = Parser("program", TransferConfig)
    config = parser.parse_config(["--dataset=cifar10", f"--ckpt-path={path}"])
    assert config.resolved().backbone == "resnet18"


@pytest.mark.parametrize("half", HALVES)
def test_a_folder_of_weights_is_refused_with_a_way_out(
    tiny: TransferConfig, half: str, tmp_path: Path
) -> None:
    config = replace(tiny, backbone="resnet18", weights=str(tmp_path))
    said = "cannot be read: Is a directory; name a file .* with --weights"
    assert_refused(half, config, said)


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file"),
        (b"", "no file of weights"),
        (b"PK\x03\x04 and no more", "no file of weights"),
        ([1, 2], "no weights of torchvision's resnet18"),
        ({"fc.weight": torch.zeros(1)}, "no weights of torchvision's resnet18"),
        ({1: 2}, "no weights of torchvision's resnet18"),
    ],
    ids=["missing", "empty", "damaged", "a list", "of another", "no names"],
)
def test_bad_weights_of_a_resnet_are_refused(
    tiny: TransferConfig, half: str, content: object, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "resnet18.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content:
        torch.save(content, path)
    assert_refused(half, replace(tiny, backbone="resnet18", weights=str(path)), said)


@pytest.mark.parametrize("half", HALVES)
def test_weights_that_cannot_be_downloaded_are_said_in_one_line(
    tiny: TransferConfig, half: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "empty"))
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/resnet18-f37072fd.pth"
    weights = torchvision.models.ResNet18_Weights.DEFAULT
    monkeypatch.setattr(weights.value, "url", url)
    said = "cannot be had: .*refused.*--weights none"
    assert_refused(half, replace(tiny, backbone="resnet18"), said)


@pytest.mark.parametrize("half", HALVES)
def test_an_image_that_is_none_is_refused_before_anything_is_trained(
    tiny: TransferConfig, half: str, tmp_path: Path
) -> None:
    (tmp_path / "no.png").write_text("text")
    config = replace(tiny, weights="none", predict=[tmp_path / "no.png"])
    assert_refused(half, config, "no image that can be read")


@pytest.mark.parametrize("half", HALVES)
def test_cifar10_that_cannot_be_had_is_said_in_one_line(
    tiny: TransferConfig, half: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/cifar.tar.gz"
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "url", url)
    config = replace(tiny, backbone="resnet18", weights="none", dataset="cifar10")
    assert_refused(half, config, "data_batch_1 is missing, and cifar10 cannot be down")


def test_the_options(tiny: TransferConfig, tmp_path: Path) -> None:
    parser = Parser(
        "program", config_class(importlib.import_module("lightning.transfer").main)
    )
    given = replace(
        tiny,
        predict=[tmp_path / "a.png", tmp_path / "b c.png"],
        unfreeze_backbone_at_epoch=0,
        train_bn=False,
    )
    assert parser.parse_config(given.to_arguments()) == given
    assert parser.parse_config(tiny.to_arguments()) == tiny
    for arguments, said in {
        "--predict": "--predict: expected at least one",
        "--unfreeze-backbone-at-epoch=3": "3 never comes: it must be below .* 3",
        "--unfreeze-backbone-at-epoch=-1": "--unfreeze-backbone-at-epoch: ",
        "--backbone-initial-ratio-lr=0": "--backbone-initial-ratio-lr: ",
        "--dataset=cifar10": "cifar10 needs --backbone resnet18",
        "--dataset=imagenet": "--dataset: ",
    }.items():
        with pytest.raises(UserError, match=said) as error:
            parser.parse_config([arguments])
        assert error.value.exit_status == 2
