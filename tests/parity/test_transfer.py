"""The lesson transfer computes the same in both halves, and moves nothing frozen."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from pytorch_lightning.callbacks import BackboneFinetuning
from torch import nn

import lightning.transfer
from shared.backbones import Classifier
from shared.data import MNISTData
from shared.options.train import Config as TrainConfig
from shared.options.transfer import Config as TransferConfig
from tests.parity.halves import Ran, assert_same, run_half

HALVES = ("plain_pytorch", "lightning")


@pytest.fixture
def base(small: TrainConfig) -> TransferConfig:
    """Return the options of a run on random weights, so that none need training."""
    return TransferConfig(**vars(small), pretrained=False)


class TinyResNet(nn.Sequential):
    """The first and the last of a ResNet's layers, under their names."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 512, 7, stride=7, bias=False)
        self.bn1 = nn.BatchNorm2d(512)
        self.relu = nn.ReLU()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(512, 1000)


@pytest.fixture
def resnet(
    base: TransferConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> TransferConfig:
    """Return the options of a few steps on weights that torchvision has downloaded."""
    torch.manual_seed(7)
    model = torchvision.models.resnet18()
    for weight in model.state_dict().values():
        if weight.dim() == 1:
            weight += 0.1 * torch.rand_like(weight)  # also what new ones have as 0 or 1
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(model.state_dict(), weights_file(tmp_path))
    return replace(
        base,
        backbone="resnet18",
        pretrained=True,
        batch_size=4,
        limit_train_batches=2,
        limit_val_batches=1,
    )


def weights_file(torch_home: Path) -> Path:
    return torch_home / "hub" / "checkpoints" / "resnet18-f37072fd.pth"


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Any:
    """Return the same options with a tiny network in the place of torchvision's."""
    monkeypatch.setattr(torchvision.models, "resnet18", TinyResNet)
    return request.getfixturevalue("resnet")


def run_one(half: str, config: TransferConfig, name: str = "") -> Ran:
    return run_half(half, "transfer", config, config.output_dir / half / name)


def run_both(config: TransferConfig) -> tuple[Ran, Ran]:
    plain, lightning = (run_one(half, config) for half in HALVES)
    return plain, lightning


def kept(half: str, config: TransferConfig, name: str = "last.ckpt") -> dict[str, Any]:
    """Return a checkpoint of a run."""
    path = config.output_dir / half / "checkpoints" / name
    checkpoint: dict[str, Any] = torch.load(path, weights_only=True)
    return checkpoint


def test_either_half_starts_from_either_half_s_checkpoint(small: TrainConfig) -> None:
    runs = []
    small = replace(small, hidden_dim=16, latent_dim=5, max_epochs=1)
    small = replace(small, limit_train_batches=3)
    for trained_by in HALVES:
        run_dir = small.output_dir / "train" / trained_by / "version_0"
        run_half(trained_by, "train", small, run_dir)
        config = TransferConfig(**vars(small))  # takes the newest
        encoder = torch.load(run_dir / "checkpoints" / "best.ckpt")["state_dict"]
        for half in HALVES:
            runs.append(run_one(half, config, f"of_{trained_by}"))
            weights = runs[-1].results
            for layer in (0, 2):
                for kind in ("weight", "bias"):
                    frozen = weights[f"backbone.{layer + 1}.{kind}"]
                    assert torch.equal(frozen, encoder[f"encoder.{layer}.{kind}"])
    first, *others = runs
    assert len(first.trace.steps) == 3
    for other in others:
        assert_same(first, other)


OPTIONS: dict[str, dict[str, Any]] = {
    "frozen": {},
    "unfrozen from the start": {"unfreeze_backbone_at_epoch": 0},
    "until the rates are the same": {
        "unfreeze_backbone_at_epoch": 1,
        "max_epochs": 7,
        "limit_train_batches": 2,
    },
    "all batches": {
        "unfreeze_backbone_at_epoch": 1,
        "limit_train_batches": None,
        "batch_size": 330,
    },
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_same_with_an_encoder(base: TransferConfig, options: dict[str, Any]) -> None:
    config = replace(base, **options)
    assert_same(*run_both(config))
    checkpoints = [kept(half, config) for half in HALVES]
    for key in ("hyper_parameters", "epoch", "global_step"):
        assert checkpoints[0][key] == checkpoints[1][key]


@pytest.mark.parametrize("unfreeze_at", [1, 2])
def test_same_with_batch_normalization_and_what_is_frozen_stays(
    tiny: TransferConfig, unfreeze_at: int
) -> None:
    assert_same_and_frozen(replace(tiny, unfreeze_backbone_at_epoch=unfreeze_at), 3)


@pytest.mark.slow
@pytest.mark.parametrize("unfreeze_at", [1, 2])
def test_same_with_a_resnet(resnet: TransferConfig, unfreeze_at: int) -> None:
    assert_same_and_frozen(replace(resnet, unfreeze_backbone_at_epoch=unfreeze_at), 60)


def assert_same_and_frozen(config: TransferConfig, learning: int) -> None:
    """Fail unless both halves do the same, and move what they should and no more.

    Args:
        config: two epochs.
        learning: how many tensors of weights the backbone has.
    """
    assert_same(*run_both(config))
    before = torch.load(
        weights_file(Path(torch.hub.get_dir()).parent), weights_only=True
    )
    layers = {layer for layer in before if not layer.startswith("fc.")}
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    weights = {layer for layer in layers if not layer.endswith(statistics)}
    assert len(weights) == learning
    for half in HALVES:
        after = kept(half, config)["state_dict"]
        moved = {
            layer
            for layer in layers
            if not torch.equal(after[f"backbone.resnet.{layer}"], before[layer])
        }
        assert moved == (weights if config.unfreeze_backbone_at_epoch < 2 else set())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU here")
@pytest.mark.parametrize("unfreeze_at", [1, 2])
def test_same_on_a_gpu(resnet: TransferConfig, unfreeze_at: int) -> None:
    config = replace(resnet, unfreeze_backbone_at_epoch=unfreeze_at)
    assert_same(*run_both(replace(config, accelerator="cuda")))


def test_the_rates_of_head_and_backbone(base: TransferConfig) -> None:
    ran = run_one("lightning", replace(base, **OPTIONS["until the rates are the same"]))
    rates = [list(step.lr[1:]) for step in ran.trace.steps[::2]]
    assert rates == [[], [0.0001], [0.0002], [0.0004], [0.0008], [0.001], [0.001]]
    assert {step.lr[0] for step in ran.trace.steps} == {0.001}


def test_the_accuracy_is_that_of_the_last_weights(base: TransferConfig) -> None:
    config = replace(
        base,
        limit_val_batches=None,
        latent_dim=20,
        learning_rate=0.01,
        unfreeze_backbone_at_epoch=0,
    )
    ran = run_one("plain_pytorch", config)
    model = Classifier("encoder", 64, 20)
    model.load_state_dict(kept("plain_pytorch", config)["state_dict"])
    data = MNISTData(config)
    data.setup("fit")
    images, labels = data.val_set.__getitems__(range(500))
    with torch.no_grad():
        right = (model(images).argmax(dim=1) == labels).sum().item()
    accuracy = ran.results["val_accuracy"][-1, 1].item()
    assert accuracy == pytest.approx(right / 500)
    assert right > 200  # it has learned


def rate_of_the_head(patch: pytest.MonkeyPatch) -> None:
    """Forget that the backbone learns in smaller steps."""

    class Quick(BackboneFinetuning):
        def __init__(self, epoch: int) -> None:
            super().__init__(epoch, backbone_initial_ratio_lr=1.0)

    patch.setattr(lightning.transfer, "BackboneFinetuning", Quick)


def never_unfrozen(patch: pytest.MonkeyPatch) -> None:
    """Forget to unfreeze."""
    patch.setattr(BackboneFinetuning, "finetune_function", lambda *_: None)


MISTAKES: dict[Callable[[pytest.MonkeyPatch], None], str] = {
    rate_of_the_head: "learning rate at step 2",
    never_unfrozen: "gradient at step 2",
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_noticed(
    tiny: TransferConfig, monkeypatch: pytest.MonkeyPatch, mistake: Any
) -> None:
    mistake(monkeypatch)
    config = replace(tiny, unfreeze_backbone_at_epoch=1)
    with pytest.raises(AssertionError, match=MISTAKES[mistake]):
        assert_same(*run_both(config))


@pytest.mark.parametrize("half", HALVES)
def test_a_forgotten_eval_mode_is_noticed(
    tiny: TransferConfig, monkeypatch: pytest.MonkeyPatch, half: str
) -> None:
    (other,) = {*HALVES} - {half}
    right = run_one(other, tiny)
    backbone = type(Classifier("resnet18", 1, 1).backbone)
    monkeypatch.setattr(backbone, "eval", lambda module: module)
    with pytest.raises(AssertionError, match="mode at step 0"):
        assert_same(right, run_one(half, tiny))


def test_the_callback_alone_leaves_batch_normalization_learning() -> None:
    backbone = Classifier("resnet18", 1, 1).backbone
    callback = BackboneFinetuning()
    module: Any = nn.Module()
    module.backbone = backbone
    callback.freeze_before_training(module)
    needing = {
        name for name, weight in backbone.named_parameters() if weight.requires_grad
    }
    assert len(needing) == 40
    assert all("bn" in name or "downsample.1" in name for name in needing)
    assert all(layer.training for layer in backbone.modules())
