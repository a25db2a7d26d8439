"""The options of the lesson `transfer`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from shared.options import train
from shared.options.checks import check_range
from shared.runtime.errors import UsageError


@dataclass(frozen=True)
class Config(train.Config):
    """A training of a classifier: ten classes, on top of a trained backbone."""

    dataset: Literal["auto", "mnist", "mnist-5k", "fashion-mnist", "cifar10"] = "auto"  # type: ignore[assignment]
    """Images to classify; auto is mnist where it can be had, otherwise mnist-5k."""
    backbone: Literal["encoder", "resnet18"] = "encoder"
    """Model below the head: the encoder of train, or torchvision's ResNet-18."""
    pretrained: bool = True
    """Start with trained weights: those of --weights, or ImageNet's for resnet18."""
    weights: Path | None = None
    """Checkpoint with the encoder; by default the newest best.ckpt in --output-dir."""
    unfreeze_backbone_at_epoch: int = 2
    """First epoch, counted from 0, in which the backbone learns as well."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, ("unfreeze_backbone_at_epoch",), at_least=0)
        if self.dataset == "cifar10" and self.backbone == "encoder":
            raise UsageError(
                "--dataset cifar10 needs --backbone resnet18: an encoder takes images"
                " of 28 x 28 gray pixels"
            )
