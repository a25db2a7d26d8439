"""The classifier of the lesson transfer: a backbone, and a head on top of it."""

import torch
from torch import Tensor, nn

from shared.model import AutoEncoder

BACKBONES = ("encoder", "resnet18")


class ResNet18(nn.Module):
    """torchvision's ResNet-18 without its last layer: 512 features of an image.

    The images keep their 28 x 28 or 32 x 32 pixels; those of ImageNet, with which it
    has learned, have 224 x 224.
    """

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        from torchvision.models import resnet18  # takes 2 seconds: only where needed

        super().__init__()
        self.resnet = resnet18()
        self.resnet.fc = nn.Identity()
        # Of the images of ImageNet.
        mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])
        self.register_buffer("mean", mean.view(3, 1, 1), persistent=False)
        self.register_buffer("std", std.view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return the features, (batch, 512), of images with one channel or three."""
        colors = images.expand(-1, 3, -1, -1)  # gray: equal red, green and blue
        return self.resnet(((colors + 1) / 2 - self.mean) / self.std)


class Classifier(nn.Module):
    """A backbone, and a linear head that tells ten classes apart by its features.

    Args:
        backbone: `encoder`, as in the autoencoder, or `resnet18`.
        hidden_dim: width of the encoder's hidden layer, at least 1.
        latent_dim: number of the encoder's features, at least 1.
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
        """Return ten logits, (batch, 10), of images with one channel or three."""
        return self.head(self.backbone(images))


def flat(encoder: nn.Sequential) -> nn.Sequential:
    """Return a backbone that takes images, of an encoder that takes rows of pixels."""
    return nn.Sequential(nn.Flatten(), *encoder)
