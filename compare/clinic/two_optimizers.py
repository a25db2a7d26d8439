# ruff: noqa: D401 (a case's docstring is its title)
"""Cases of two optimizers that take turns."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compare.clinic.case import case
from compare.clinic.parts import in_order


class Gan:
    """A generator and a discriminator with an optimizer each."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.generator, self.discriminator = nn.Linear(2, 6), nn.Linear(6, 1)
        self.optimizers = [
            torch.optim.SGD(part.parameters(), 0.1)
            for part in (self.generator, self.discriminator)
        ]

    def update_generator(self, fakes: Tensor) -> None:
        """Make the discriminator say yes."""
        self._step(0, self._score(fakes, 1.0))

    def update_discriminator(self, real: Tensor, fakes: Tensor) -> None:
        """Tell real from fake."""
        self._step(1, self._score(real, 1.0) + self._score(fakes.detach(), 0.0))

    def _score(self, pictures: Tensor, wanted: float) -> Tensor:
        scores = self.discriminator(pictures)
        target = torch.full_like(scores, wanted)
        return F.binary_cross_entropy_with_logits(scores, target)

    def _step(self, index: int, loss: Tensor) -> None:
        self.optimizers[index].zero_grad()
        loss.backward()
        self.optimizers[index].step()


@case(
    step=1,
    quantity="batch",
    cause="other-models-output",
    mend="Make the fakes again after the generator's update, or keep them in both.",
)
def fakes_kept(mistake: bool) -> None:
    """The discriminator sees fakes that were made before the generator's update."""
    gan = Gan()
    for real, _ in in_order():
        noise = torch.randn(4, 2)
        fakes = gan.generator(noise)
        gan.update_generator(fakes)
        gan.update_discriminator(real, fakes if mistake else gan.generator(noise))


@case(
    step=0,
    quantity="optimizer",
    cause="other-turn",
    mend="Update in the same order.",
)
def generator_first(mistake: bool) -> None:
    """The generator takes its step first, where the discriminator should."""
    gan = Gan()
    for real, _ in in_order():
        if mistake:
            gan.update_generator(gan.generator(torch.randn(4, 2)))
        gan.update_discriminator(real, gan.generator(torch.randn(4, 2)))
        if not mistake:
            gan.update_generator(gan.generator(torch.randn(4, 2)))


@case(
    step=6,
    quantity="optimizer",
    cause="extra-optimizer",
    mend="Return both optimizers, and step both.",
)
def second_optimizer_left_out(mistake: bool) -> None:
    """The generator is never updated."""
    gan = Gan()
    for real, _ in in_order():
        gan.update_discriminator(real, torch.ones(4, 6))
        if not mistake:
            fakes = gan.generator(torch.ones(4, 2))
            gan.optimizers[0].zero_grad()
            fakes.square().mean().backward()
            gan.optimizers[0].step()
