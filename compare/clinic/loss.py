# ruff: noqa: D401 (a case's docstring is its title)
"""Cases of the loss function: which one, its options, what goes into it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from compare.clinic.case import case
from compare.clinic.parts import in_order, network, sgd


def train_with(loss_of: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Train on a loss of the scores and the targets."""
    model = network()
    optimizer = sgd(model)
    for inputs, targets in in_order():
        loss = loss_of(model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@case(
    step=0,
    quantity="loss",
    cause="softmax-twice",
    mend="Leave the softmax out: cross_entropy has its own.",
)
def softmax_twice(mistake: bool) -> None:
    """The model ends in a softmax, and the loss expects scores."""
    train_with(lambda s, y: F.cross_entropy(s.softmax(1) if mistake else s, y))


@case(
    step=0,
    quantity="loss",
    cause="other-loss-function",
    mend="Use the same loss.",
)
def loss_replaced(mistake: bool) -> None:
    """One run takes the squared distance, the other the absolute one."""
    loss = F.l1_loss if mistake else F.mse_loss
    train_with(lambda s, y: loss(s, F.one_hot(y, 3).float()))


@case(
    step=0,
    quantity="loss",
    cause="shapes-broadcast",
    mend="Compare vectors with vectors: squeeze the prediction.",
)
def shapes_broadcast(mistake: bool) -> None:
    """A column of predictions meets a row of targets: each meets every one."""
    train_with(
        lambda s, y: F.huber_loss(s[:, :1] if mistake else s[:, 0], y.float()),
    )


@case(
    step=0,
    quantity="loss",
    cause="targets-padded",
    mend="Set the padding's targets to -100.",
)
def targets_padded(mistake: bool) -> None:
    """Padding counts as a class."""

    def loss_of(scores: Tensor, targets: Tensor) -> Tensor:
        padded = torch.full_like(targets[:2], 0 if mistake else -100)
        return F.cross_entropy(scores, torch.cat([targets[:2], padded]))

    train_with(loss_of)


@case(
    step=0,
    quantity="loss",
    cause="loss-options",
    mend="Pass label_smoothing in both runs.",
)
def label_smoothing_left_out(mistake: bool) -> None:
    """The labels are smoothed in one run only."""
    smoothing = 0.0 if mistake else 0.1
    train_with(lambda s, y: F.cross_entropy(s, y, label_smoothing=smoothing))


@case(
    step=0,
    quantity="loss",
    cause="loss-scaled",
    mend="Add the penalty in both runs.",
)
def loss_weighted(mistake: bool) -> None:
    """The loss has a weight in one run only."""
    train_with(lambda s, y: F.cross_entropy(s, y) * (0.3 if mistake else 1.0))


@case(
    step=0,
    quantity="loss",
    cause="other-loss-by-hand",
    mend="Print the output, the targets and the loss in both runs.",
)
def loss_by_hand(mistake: bool) -> None:
    """A loss without a function of torch's: its targets are others."""
    train_with(lambda s, y: (s[:, 0] - (y + 1 if mistake else y)).square().mean())
