"""What the lesson transfer builds on: models that have learned something before."""

import torch
from torch import Tensor, nn

from shared.datasets.download import network_timeout
from shared.model import AutoEncoder
from shared.runtime.errors import UserError

BACKBONES = ("encoder", "resnet18")
WAY_OUT = (
    "name a file of torchvision's weights with --weights, or begin at random ones with"
    " --weights none"
)


class ResNet18(nn.Module):
    """torchvision's ResNet-18 without its last layer: 512 features of an image.

    The images are not enlarged to the 224 x 224 pixels with which it has learned on
    ImageNet: they go in as they are, 28 x 28 or 32 x 32.
    """

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        from torchvision.models import resnet18  # takes 2 seconds: only where needed

        super().__init__()
        self.resnet = resnet18()
        self.resnet.fc = nn.Identity()
        # Of the images of ImageNet, with which it learns.
        mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])
        self.register_buffer("mean", mean.view(3, 1, 1), persistent=False)
        self.register_buffer("std", std.view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return the features, (batch, 512), of images of one channel or three.

        Raises:
            UserError: batch normalization is to learn from a single image.
        """
        if len(images) == 1 and self.resnet.bn1.training:
            raise UserError(
                "a batch of one image has no deviation to normalize by: take another"
                " --batch-size, or --no-train-bn"
            )
        colors = images.expand(-1, 3, -1, -1)  # gray is as much red, green and blue
        return self.resnet(((colors + 1) / 2 - self.mean) / self.std)


class Classifier(nn.Module):
    """A backbone, and a linear head that tells ten classes apart by its features.

    Args:
        backbone: encoder, that of the autoencoder, or resnet18.
        hidden_dim: width of the encoder's hidden layer.
        latent_dim: how many features the encoder has.
    """

    def __init__(self, backbone: str, hidden_dim: int, latent_dim: int) -> None:
        super().__init__()
        self.backbone: nn.Module
        if backbone == "resnet18":
            self.backbone, num_features = ResNet18(), 512
        else:
            encoder = AutoEncoder(hidden_dim, latent_dim).encoder
            self.backbone, num_features = flat(encoder), latent_dim
        self.head = nn.Linear(num_features, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Return ten numbers for each image, the highest for the likeliest class."""
        return self.head(self.backbone(images))


def flat(encoder: nn.Sequential) -> nn.Sequential:
    """Return a backbone that takes images, of an encoder that takes rows of pixels."""
    return nn.Sequential(nn.Flatten(), *encoder)


def batch_norms(backbone: nn.Module) -> list[nn.Module]:
    """Return the layers of batch normalization."""
    return [layer for layer in backbone.modules() if isinstance(layer, nn.BatchNorm2d)]


def load_resnet18(backbone: nn.Module, weights: str) -> None:
    """Give a ResNet18 its weights, but for the last layer's.

    Args:
        backbone: gets the weights.
        weights: DEFAULT downloads what torchvision has learned on ImageNet, or takes
            what it has downloaded; otherwise a file of such weights.

    Raises:
        UserError: they cannot be downloaded or read, or are not those of a ResNet-18.
    """
    if weights == "DEFAULT":
        state = download_resnet18()
    else:
        try:
            state = torch.load(weights, map_location="cpu", weights_only=True)
        except Exception as error:  # whatever a damaged file makes of the unpickler
            raise UserError(f"{weights} {why_unreadable(error)}; {WAY_OUT}") from error
    try:
        layers = {name: state[name] for name in state if not name.startswith("fc.")}
        backbone.resnet.load_state_dict(layers)  # type: ignore[operator, union-attr]
    except (TypeError, AttributeError, RuntimeError) as error:
        raise UserError(
            f"{weights} has no weights of torchvision's resnet18; {WAY_OUT}"
        ) from error


def download_resnet18() -> dict[str, Tensor]:
    """Return torchvision's weights of ImageNet, downloaded unless they are on the disk.

    Raises:
        UserError: they cannot be had.
    """
    from torchvision.models import ResNet18_Weights

    try:
        with network_timeout():
            return ResNet18_Weights.DEFAULT.get_state_dict(
                check_hash=True, map_location="cpu", weights_only=True
            )
    except Exception as error:  # the network, the disk, or a damaged file on it
        reason = str(error).strip("<>") or type(error).__name__
        raise UserError(
            f"the weights of resnet18 cannot be had: {reason}; {WAY_OUT}"
        ) from error


def why_unreadable(error: Exception) -> str:
    """Return why a file of weights cannot be read."""
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read: {error.strerror}"
    return "is no file of weights (a state_dict that torch.save wrote), or damaged"
