"""The lesson transfer computes the same in both halves, and moves nothing frozen."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from PIL import Image
from pytorch_lightning.callbacks import BackboneFinetuning
from torch import Tensor, nn
from torch.optim import Optimizer

from lightning.transfer import LitClassifier
from plain_pytorch import transfer
from plain_pytorch.transfer import PlainClassifier
from shared.backbones import BACKBONES, Classifier
from shared.data import Batch, MNISTData
from shared.options.train import TrainConfig
from shared.options.transfer import TransferConfig
from shared.runtime.errors import UserError
from tests.parity.halves import Ran, assert_same, run_half

HALVES = ("plain_pytorch", "lightning")
BATCH_NORM = ("bn", "downsample.1", "running_", "num_batches_tracked")


@pytest.fixture
def base(small: TrainConfig) -> TransferConfig:
    """Return the options of a run on random weights, so that none need training."""
    return TransferConfig(**vars(small), weights="none")


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
def resnet(base: TransferConfig, tmp_path: Path) -> TransferConfig:
    """Return the options of a few steps on the weights of a ResNet-18."""
    torch.manual_seed(7)
    model = torchvision.models.resnet18()
    for weight in model.state_dict().values():
        if weight.dim() == 1:
            weight += 0.1 * torch.rand_like(weight)  # also what new ones have as 0 or 1
    torch.save(model.state_dict(), tmp_path / "resnet18.pth")
    return replace(
        base,
        backbone="resnet18",
        weights=str(tmp_path / "resnet18.pth"),
        batch_size=4,
        limit_train_batches=2,
        limit_val_batches=1,
        limit_test_batches=1,
    )


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
        run_dir = small.output_dir / trained_by / "train" / "version_0"
        run_half(trained_by, "train", small, run_dir)
        # By default the newest is taken, and it says the sizes and the data set.
        config = TransferConfig(**vars(small), weights="DEFAULT")
        config = replace(config, hidden_dim=64, latent_dim=3, dataset="auto")
        for half in HALVES:
            runs.append(run_one(half, config, f"of_{trained_by}"))
        encoder = torch.load(run_dir / "checkpoints" / "best.ckpt")["state_dict"]
        for half in HALVES:
            path = small.output_dir / half / f"of_{trained_by}" / "checkpoints"
            weights = torch.load(path / "last.ckpt")["state_dict"]
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
    "unfrozen at the end": {"unfreeze_backbone_at_epoch": 1},
    "until the rates are the same": {
        "unfreeze_backbone_at_epoch": 1,
        "backbone_initial_ratio_lr": 0.3,
        "max_epochs": 5,
        "limit_train_batches": 2,
    },
    "all batches": {"limit_train_batches": None, "batch_size": 330, "latent_dim": 40},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_same_with_an_encoder(base: TransferConfig, options: dict[str, Any]) -> None:
    config = replace(base, **options)
    assert_same(*run_both(config))
    checkpoints = [kept(half, config) for half in HALVES]
    for key in ("hyper_parameters", "dataset", "epoch", "global_step"):
        assert checkpoints[0][key] == checkpoints[1][key]


RESNETS: dict[str, dict[str, Any]] = {
    "random": {"weights": "none", "max_epochs": 1},
    "frozen": {},
    "unfrozen": {"unfreeze_backbone_at_epoch": 1},
    "but for batch normalization": {
        "unfreeze_backbone_at_epoch": 1,
        "train_bn": False,
    },
}


@pytest.mark.parametrize("name", RESNETS)
def test_same_with_batch_normalization_and_what_is_frozen_stays(
    tiny: TransferConfig, name: str
) -> None:
    assert_same_and_frozen(tiny, name)


@pytest.mark.slow
@pytest.mark.parametrize("name", RESNETS)
def test_same_with_a_resnet(resnet: TransferConfig, name: str) -> None:
    assert_same_and_frozen(resnet, name)


def assert_same_and_frozen(resnet: TransferConfig, name: str) -> None:
    """Fail unless both halves do the same, and move what they should and no more."""
    config = replace(resnet, **RESNETS[name])
    assert_same(*run_both(config))
    if name == "random":
        return
    before = torch.load(config.weights, weights_only=True)
    layers = {layer for layer in before if not layer.startswith("fc.")}
    normalizing = {
        layer for layer in layers if any(part in layer for part in BATCH_NORM)
    }
    # Five tensors each: weight, bias, and the statistics.
    assert len(normalizing) in (5 * 1, 5 * 20)
    expected = {
        "frozen": set(),
        "unfrozen": layers,
        "but for batch normalization": layers - normalizing,
    }
    for half in HALVES:
        after = kept(half, config)["state_dict"]
        moved = {
            layer
            for layer in layers
            if not torch.equal(after[f"backbone.resnet.{layer}"], before[layer])
        }
        assert moved == expected[name]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU here")
@pytest.mark.parametrize("name", RESNETS)
def test_same_on_a_gpu(resnet: TransferConfig, name: str) -> None:
    assert_same(*run_both(replace(resnet, accelerator="cuda", **RESNETS[name])))


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_random_weights_are_the_first_that_are_drawn(
    tiny: TransferConfig, half: str, backbone: Any
) -> None:
    config = replace(tiny, backbone=backbone, weights="none", max_epochs=1)
    run_one(half, config)
    torch.manual_seed(config.seed)
    drawn = Classifier(backbone, 64, 3).backbone.state_dict()
    after = kept(half, config)["state_dict"]
    for layer, weight in drawn.items():
        assert torch.equal(after[f"backbone.{layer}"], weight)


@pytest.mark.parametrize("half", HALVES)
def test_the_rates_of_head_and_backbone(base: TransferConfig, half: str) -> None:
    config = replace(base, **OPTIONS["until the rates are the same"])
    ran = run_one(half, config)
    backbone = [[], [0.0003], [0.0006], [0.001], [0.001]]
    rates = [list(step.lr[1:]) for step in ran.trace.steps[::2]]
    assert rates == backbone
    assert {step.lr[0] for step in ran.trace.steps} == {0.001}


def test_the_accuracy_is_that_of_the_best_weights(base: TransferConfig) -> None:
    config = replace(
        base,
        limit_test_batches=None,
        latent_dim=20,
        learning_rate=0.01,
        unfreeze_backbone_at_epoch=0,
    )
    plain, lightning = run_both(config)
    assert_same(plain, lightning)
    model = Classifier("encoder", 64, 20)
    model.load_state_dict(kept("lightning", config, "best.ckpt")["state_dict"])
    data = MNISTData(config)
    data.setup("test")
    images, labels = data.test_set.__getitems__(range(500))
    with torch.no_grad():
        right = (model(images).argmax(dim=1) == labels).sum().item()
    ((_, accuracy),) = plain.results["test_accuracy"].tolist()
    assert accuracy == pytest.approx(right / 500)
    assert right > 200  # it has learned


def test_own_images_are_classified_with_either_half_s_checkpoint(
    base: TransferConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = replace(base, max_epochs=1)
    digits = MNISTData(config)
    digits.setup("test")
    paths = [tmp_path / "a" / "my.png", tmp_path / "b" / "my.png"]
    for path, digit in zip(paths, digits.test_set.images.pixels, strict=False):
        path.parent.mkdir()
        Image.fromarray(digit.numpy()).save(path)
    config = replace(config, predict=paths)
    run_both(config)
    run_on = replace(config, weights="DEFAULT", dataset="auto")
    runs = []
    for half in HALVES:
        for trained_by in HALVES:
            path = config.output_dir / trained_by / "checkpoints" / "best.ckpt"
            again = replace(run_on, ckpt_path=path)
            runs.append(run_one(half, again, f"with_{trained_by}"))
            assert not runs[-1].trace.steps
            assert len(runs[-1].trace.evaluations) == 3 + 2
    for run in runs[1:]:
        assert_same(runs[0], run)
    said = capsys.readouterr().out.splitlines()
    for path in config.predict:
        lines = [line for line in said if line.startswith(f"{path} ")]
        assert len(lines) == 6
        assert len(set(lines)) == 1
    model = Classifier("encoder", 64, 3)
    model.load_state_dict(kept("plain_pytorch", config, "best.ckpt")["state_dict"])
    with torch.no_grad():
        classes = model(digits.test_set.__getitems__([1])[0]).softmax(dim=1)[0]
    likeliest = int(classes.argmax())
    assert lines[0] == f"{path}  {likeliest} (probability {classes.max():.4f})"


@pytest.mark.parametrize("half", HALVES)
def test_a_batch_of_one_image_cannot_be_normalized(
    tiny: TransferConfig, half: str
) -> None:
    config = replace(tiny, batch_size=1, unfreeze_backbone_at_epoch=0)
    with pytest.raises(UserError, match="batch of one image"):
        run_one(half, config)


def mode_forgotten(patch: pytest.MonkeyPatch) -> None:
    """Forget that train() reaches what is frozen."""
    step = PlainClassifier.training_step

    def train_again(model: PlainClassifier, batch: Batch, batch_idx: int) -> Tensor:
        model.train()
        return step(model, batch, batch_idx)

    patch.setattr(PlainClassifier, "training_step", train_again)


def lightning_s_own(patch: pytest.MonkeyPatch) -> None:
    """Take Lightning's callback as it is: what it unfreezes stays in evaluation."""
    patch.setattr("lightning.transfer.Finetuning", BackboneFinetuning)


def same_rate(patch: pytest.MonkeyPatch) -> None:
    """Forget by hand that the steps are to be smaller."""
    unfreeze = transfer.unfreeze

    def fully(model: PlainClassifier, optimizer: Optimizer, config: Any) -> Any:
        config = replace(config, backbone_initial_ratio_lr=1.0)
        return unfreeze(model, optimizer, config)

    patch.setattr(transfer, "unfreeze", fully)


def other_head(patch: pytest.MonkeyPatch) -> None:
    """Let the optimizer of one half have the frozen weights, too."""

    def of_all(model: LitClassifier) -> Optimizer:
        return torch.optim.Adam(model.parameters(), lr=1e-3)

    patch.setattr(LitClassifier, "configure_optimizers", of_all)


MISTAKES: dict[Callable[[pytest.MonkeyPatch], None], str] = {
    mode_forgotten: "mode at step 0",
    lightning_s_own: "mode at step 2",
    same_rate: "learning rate at step 2",
    other_head: "gradient at step 2",
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_noticed(
    tiny: TransferConfig, monkeypatch: pytest.MonkeyPatch, mistake: Any
) -> None:
    mistake(monkeypatch)
    config = replace(tiny, unfreeze_backbone_at_epoch=1)
    with pytest.raises(AssertionError, match=MISTAKES[mistake]):
        assert_same(*run_both(config))


def test_lightning_s_own_callback_leaves_batch_normalization_unfrozen() -> None:
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
