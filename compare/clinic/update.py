# ruff: noqa: D401 (a case's docstring is its title)
"""Cases of the optimizer: its options, its parameters, its state."""

from __future__ import annotations

from torch import nn
from torch.optim import SGD, Adam, AdamW

from compare.clinic.case import case
from compare.clinic.parts import in_order, network, train_epoch


@case(
    step=0,
    quantity="learning rate",
    cause="other-learning-rate",
    mend="Pass the same lr to both optimizers.",
)
def learning_rate_default(mistake: bool) -> None:
    """The learning rate is left at the optimizer's default."""
    model = network()
    parameters = model.parameters()
    train_epoch(
        model, Adam(parameters) if mistake else Adam(parameters, 0.01), in_order()
    )


@case(
    step=0,
    quantity="weights",
    cause="optimizer-class",
    mend="Use AdamW in both runs.",
)
def adam_for_adamw(mistake: bool) -> None:
    """Weight decay goes into the gradient (Adam) and not into the weights (AdamW)."""
    model = network()
    kind = Adam if mistake else AdamW
    train_epoch(model, kind(model.parameters(), 0.01, weight_decay=0.1), in_order())


@case(
    step=0,
    quantity="weights",
    cause="weight-decay",
    mend="Pass the same weight_decay: AdamW's default is 0.01, Adam's is 0.",
)
def weight_decay_default(mistake: bool) -> None:
    """The weight decay is left at the optimizer's default."""
    model = network()
    decay = 0.01 if mistake else 0.0
    optimizer = AdamW(model.parameters(), 0.01, weight_decay=decay)
    train_epoch(model, optimizer, in_order())


@case(
    step=0,
    quantity="weights",
    cause="optimizer-options",
    mend="Pass eps explicitly: the default is 1e-8 in PyTorch and 1e-7 in Keras.",
)
def eps_of_another_library(mistake: bool) -> None:
    """Adam's eps is another library's default."""
    model = network()
    eps = 1e-7 if mistake else 1e-8
    train_epoch(model, Adam(model.parameters(), 0.01, eps=eps), in_order())


@case(
    step=0,
    quantity="gradient",
    cause="parameters-left-out",
    mend="Make the optimizer after the last change to the model.",
)
def optimizer_before_new_head(mistake: bool) -> None:
    """The head is replaced after the optimizer was made: it is never trained."""
    model = network()
    early = SGD(model.parameters(), 0.1)
    model[4] = nn.Linear(8, 3)
    late = SGD(model.parameters(), 0.1)
    train_epoch(model, early if mistake else late, in_order())


@case(
    step=6,
    quantity="weights",
    cause="optimizer-state-lost",
    mend="Save optimizer.state_dict() too, and load it before going on.",
)
def resumed_without_state(mistake: bool) -> None:
    """Training is resumed from the weights alone: Adam starts from nothing."""
    model = network()
    optimizer = Adam(model.parameters(), 0.01)
    train_epoch(model, optimizer, in_order())
    resumed = Adam(model.parameters(), 0.01)
    if not mistake:
        resumed.load_state_dict(optimizer.state_dict())
    train_epoch(model, resumed, in_order())
