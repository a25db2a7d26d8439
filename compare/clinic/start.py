# ruff: noqa: D401 (a case's docstring is its title)
"""Cases in which the models are not the same from the start, or not in the loop."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from compare.clinic.case import case
from compare.clinic.parts import in_order, network, sgd, step, train_epoch


@case(
    step=0,
    quantity="loss",
    cause="drawn-before-model",
    mend="Seed right before the model is built.",
)
def random_before_model(mistake: bool) -> None:
    """An example input is drawn between the seed and the model."""
    torch.manual_seed(0)
    if mistake:
        torch.randn(1, 6)
    model = nn.Linear(6, 3)
    train_epoch(model, sgd(model), in_order())


@case(
    step=0,
    quantity="loss",
    cause="other-seed",
    mend="Pass the seed: without one, seed_everything() takes 0.",
)
def seed_left_out(mistake: bool) -> None:
    """One run is seeded with 0, as seed_everything() does, and the other with 42."""
    torch.manual_seed(0 if mistake else 42)
    model = nn.Linear(6, 3)
    train_epoch(model, sgd(model), in_order())


@case(
    step=0,
    quantity="loss",
    cause="weights-not-loaded",
    mend="Remove the prefix from the names, and load with strict=True.",
)
def prefix_loads_nothing(mistake: bool) -> None:
    """A checkpoint's names begin with `model.`, and strict=False loads none of them."""
    trained = network()
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.mul_(2)
    saved = {f"model.{name}": value for name, value in trained.state_dict().items()}
    model = network()
    names = (
        saved if mistake else {n.removeprefix("model."): v for n, v in saved.items()}
    )
    model.load_state_dict(names, strict=False)
    train_epoch(model, sgd(model), in_order())


@case(
    step=0,
    quantity="loss",
    cause="other-layers",
    mend="Print both models and compare.",
)
def dropout_rate_changed(mistake: bool) -> None:
    """The dropout rate is another one."""
    model = network(dropout=0.5 if mistake else 0.1)
    train_epoch(model, sgd(model), in_order())


@case(
    step=0,
    quantity="loss",
    cause="loss-reduction",
    mend="Use the same reduction.",
)
def loss_summed(mistake: bool) -> None:
    """The loss is summed over the batch and not averaged."""
    model = network()
    optimizer = sgd(model)
    for inputs, targets in in_order():
        loss = F.cross_entropy(
            model(inputs), targets, reduction="sum" if mistake else "mean"
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@case(
    step=1,
    quantity="loss",
    cause="drawn-in-loop",
    mend="Draw from a generator of your own in whatever only watches the training.",
)
def random_in_loop(mistake: bool) -> None:
    """A random number is drawn after each step, and dropout drops others."""
    model = network(dropout=0.5)
    optimizer = sgd(model)
    for inputs, targets in in_order():
        step(model, optimizer, inputs, targets)
        if mistake:
            torch.rand(1)
