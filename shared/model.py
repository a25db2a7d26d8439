"""The model that both halves train."""

from torch import Tensor, nn
from torch.nn import functional as F


class AutoEncoder(nn.Module):
    """Encode a digit of 28 x 28 pixels as a few numbers, and decode it from them.

    The state-dict keys, `encoder.0.weight` to `decoder.2.bias`, are those of
    LitAutoEncoder in the Lightning documentation, so the weights load there with
    strict=True.

    Args:
        hidden_dim: width of the hidden layers, at least 1.
        latent_dim: number of values that describe a digit, at least 1.
    """

    def __init__(self, hidden_dim: int = 64, latent_dim: int = 3) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(28 * 28, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, latent_dim)
        )
        self.decoder = nn.Sequential(
            nn.Linear(latent_dim, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, 28 * 28)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return the embedding, (batch, latent_dim), of (batch, 1, 28, 28) images."""
        return self.encoder(images.flatten(1))

    def reconstruction_loss(self, images: Tensor) -> Tensor:
        """Return the mean squared error between images and their reconstructions.

        A scalar: the mean over all pixels of all (batch, 1, 28, 28) images, which are
        normalized to -1..1, so that an error of 1.0 is half the range of a pixel.
        """
        reconstructions = self.decoder(self(images))
        return F.mse_loss(reconstructions, images.flatten(1))
