import torch
from torch import nn

from shared.model import AutoEncoder


class LitAutoEncoder(nn.Module):
    """Built as the Lightning documentation builds its LitAutoEncoder."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(28 * 28, 64), nn.ReLU(), nn.Linear(64, 3)
        )
        self.decoder = nn.Sequential(
            nn.Linear(3, 64), nn.ReLU(), nn.Linear(64, 28 * 28)
        )


def test_weights_load_into_the_documentation_s_model() -> None:
    model, theirs = AutoEncoder(), LitAutoEncoder()
    theirs.load_state_dict(model.state_dict(), strict=True)
    assert list(model.state_dict()) == [
        f"{half}.{layer}.{kind}"
        for half in ("encoder", "decoder")
        for layer in (0, 2)
        for kind in ("weight", "bias")
    ]


def test_forward_returns_the_embedding() -> None:
    model = AutoEncoder(hidden_dim=5, latent_dim=2)
    images = torch.rand(7, 1, 28, 28)
    embedding = model(images)
    assert embedding.shape == (7, 2)
    assert torch.equal(embedding, model.encoder(images.reshape(7, 784)))


def test_loss_is_the_mean_squared_error_of_every_pixel() -> None:
    model = AutoEncoder()
    images = torch.rand(7, 1, 28, 28)
    difference = model.decoder(model(images)) - images.reshape(7, 784)
    assert torch.equal(model.reconstruction_loss(images), difference.square().mean())
