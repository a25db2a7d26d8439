"""The commands of the lesson transfer: what they refuse, and the way out they name."""

import importlib
import socket
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision

from shared.model import AutoEncoder
from shared.options.train import Config as TrainConfig
from shared.options.transfer import Config as TransferConfig
from shared.runtime.errors import UsageError, UserError

HALVES = ["plain_pytorch", "lightning"]


def assert_refused(half: str, config: TransferConfig, said: str) -> None:
    """Fail unless a half raises an error of one line that says this."""
    with pytest.raises(UserError, match=said) as error:
        importlib.import_module(f"{half}.transfer").main(config, config.output_dir)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("half", HALVES)
def test_without_a_checkpoint_one_is_told_to_train(
    small: TrainConfig, half: str
) -> None:
    config = TransferConfig(**vars(small))
    assert_refused(half, config, r"no best\.ckpt .*: train first .* with --weights")


@pytest.mark.parametrize("half", HALVES)
def test_an_encoder_of_another_size_is_refused(
    small: TrainConfig, half: str, tmp_path: Path
) -> None:
    path = tmp_path / "best.ckpt"
    torch.save({"state_dict": AutoEncoder(8, 3).state_dict()}, path)
    config = TransferConfig(**vars(small), weights=path)
    assert_refused(half, config, "another architecture.* give --hidden-dim")
    assert_refused(half, replace(config, weights=tmp_path), "cannot be read")


@pytest.mark.parametrize("half", HALVES)
def test_weights_that_cannot_be_downloaded_are_said_in_one_line(
    small: TrainConfig, half: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "empty"))
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/resnet18-f37072fd.pth"
    weights = torchvision.models.ResNet18_Weights.DEFAULT
    monkeypatch.setattr(weights.value, "url", url)
    config = TransferConfig(**vars(small), backbone="resnet18")
    assert_refused(half, config, "cannot be downloaded .*refused.*--no-pretrained")


def test_wrong_options(small: TrainConfig) -> None:
    with pytest.raises(UsageError, match="--unfreeze-backbone-at-epoch -1: must be"):
        TransferConfig(**vars(small), unfreeze_backbone_at_epoch=-1)
    with pytest.raises(UsageError, match="cifar10 needs --backbone resnet18"):
        TransferConfig(**{**vars(small), "dataset": "cifar10"})
