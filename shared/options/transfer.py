"""The options of the lesson `transfer`."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from jsonargparse.typing import restricted_number_type

from shared.checkpoints.trained import newest_best, read_classifier, read_model
from shared.datasets.catalog import CLASSES
from shared.options.train import Count, LearningRate, TrainConfig
from shared.runtime.errors import UsageError, UserError

if TYPE_CHECKING:  # to a type checker, a number within a range is a number
    Epoch = int
    Ratio = float
else:
    Epoch = restricted_number_type("Epoch", int, [(">=", 0), ("<", 2**31 - 1)])
    Ratio = LearningRate  # above 0, and finite


@dataclass(frozen=True)
class TransferConfig(TrainConfig):
    """A classifier of ten classes, on what another model has learned."""

    dataset: Literal["auto", "mnist", "mnist-5k", "fashion-mnist", "cifar10"] = "auto"  # type: ignore[assignment]
    """Images to tell apart; auto is that of the checkpoint, otherwise mnist where it
    can be had, otherwise mnist-5k."""
    backbone: Literal["encoder", "resnet18"] = "encoder"
    """What has learned before: an autoencoder's encoder, or torchvision's ResNet-18."""
    weights: str = "DEFAULT"
    """What it has learned: a file; none, for random weights; or DEFAULT, the newest
    best.ckpt of an autoencoder in --output-dir, or ImageNet's weights for resnet18."""
    hidden_dim: Count = 64
    """Width of the encoder's hidden layer, where no checkpoint says it."""
    latent_dim: Count = 3
    """How many numbers the encoder has for an image, where no checkpoint says it."""
    unfreeze_backbone_at_epoch: Epoch | None = None
    """First epoch, counted from 0, in which the backbone learns, too; None is never."""
    backbone_initial_ratio_lr: Ratio = 0.1
    """Its learning rate then, as a part of --learning-rate; each epoch doubles it."""
    train_bn: bool = True
    """Whether its batch normalization learns then, too."""
    ckpt_path: Path | None = None
    """Checkpoint of this lesson to test and to predict with, instead of training."""
    predict: list[Path] = field(default_factory=list)
    """Image files of your own to classify at the end."""

    def __post_init__(self) -> None:
        super().__post_init__()
        unfreeze = self.unfreeze_backbone_at_epoch
        reasons = {
            "--dataset cifar10 needs --backbone resnet18: an encoder knows images of 28"
            " x 28 gray pixels": (
                self.dataset == "cifar10"
                and self.backbone == "encoder"
                and not self.ckpt_path  # which says the backbone
            ),
            # A Trainer says nothing, and leaves the backbone as it is.
            f"--unfreeze-backbone-at-epoch {unfreeze} never comes: it must be below"
            f" --max-epochs {self.max_epochs}": (unfreeze or 0) >= self.max_epochs,
        }
        for reason, applies in reasons.items():
            if applies:
                raise UsageError(reason)

    def resolved(self) -> Self:
        """Return the options with what the checkpoint says that a run starts from.

        That is the backbone, its sizes, and the data set unless it is given.

        Raises:
            UserError: the checkpoint is missing, damaged, of another model, or tells
                apart other classes than those of the data set.
        """
        checkpoint: Mapping[str, Any] = {"hyper_parameters": {}}
        config = self
        if self.ckpt_path:
            checkpoint = read_classifier(self.ckpt_path)
        elif self.backbone == "encoder" and self.weights != "none":
            path = Path(self.weights)
            if self.weights == "DEFAULT":
                path = newest_best(self.output_dir, "--weights")
            checkpoint = read_model(path)
            config = replace(self, weights=str(path))
        arguments = dict(checkpoint["hyper_parameters"])
        arguments.pop("learning_rate", None)
        config = replace(config, **arguments).with_dataset_of(checkpoint)
        if self.ckpt_path:
            config.require_classes_of(checkpoint)
        return config

    def require_classes_of(self, checkpoint: Mapping[str, Any]) -> None:
        """See that a classifier knows the images and the classes of the data set.

        Raises:
            UserError: it does not: their names, and the accuracy, would be nonsense.
        """
        trained_on = checkpoint.get("dataset")
        classes = CLASSES.get(self.dataset)
        colors = self.dataset == "cifar10"
        if CLASSES.get(str(trained_on), classes) != classes or (
            colors and self.backbone == "encoder"
        ):
            raise UserError(
                f"{self.ckpt_path} is of {trained_on}, and does not know the images of"
                f" {self.dataset}: leave out --dataset, or name another checkpoint"
            )
