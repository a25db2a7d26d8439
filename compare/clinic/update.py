# ruff: noqa: D401 (a case's docstring is its title)
"""Cases of the optimizer: its options, its parameters, its state."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import LBFGS, SGD, Adam, AdamW

from compare.clinic.case import case
from compare.clinic.parts import in_order, network, sgd, step, train_epoch


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


@case(
    step=0,
    quantity="weights",
    cause="weight-decay-groups",
    mend="Put norms and biases into a group with weight_decay=0.0.",
)
def decay_on_everything(mistake: bool) -> None:
    """Weight decay is for all parameters, where biases were to have none."""
    model = network()
    matrices = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() == 1]
    groups = [{"params": matrices}, {"params": others, "weight_decay": 0.0}]
    parameters: Any = model.parameters() if mistake else groups
    train_epoch(model, AdamW(parameters, 0.01, weight_decay=0.1), in_order())


@case(
    step=0,
    quantity="weights",
    cause="update-changed",
    mend="Clamp in both runs, or in neither.",
)
def weights_clamped(mistake: bool) -> None:
    """The optimizer of one run clamps the weights after its step, as WGAN does."""
    model = network()
    optimizer = sgd(model)

    def clamp(*_: object) -> None:
        for parameter in model.parameters():
            parameter.data.clamp_(-0.1, 0.1)

    if mistake:  # called before the trace reads the weights, as a part of the step
        optimizer.register_step_post_hook(clamp)
    train_epoch(model, optimizer, in_order())


@case(
    step=0,
    quantity="loss",
    cause="tied-weights",
    mend="Tie the weights again after the model was copied or loaded.",
)
def tie_lost(mistake: bool) -> None:
    """Input and output layer share a weight in one run only."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(6, 4), nn.Flatten(0, 1), nn.Linear(4, 6, False))
    if not mistake:
        model[2].weight = model[0].weight
    optimizer = sgd(model)
    for _, targets in in_order():
        step(model, optimizer, targets[:, None], targets)


@case(
    step=1,
    quantity="loss",
    cause="step-without-backward",
    mend="Call step once for each backward.",
)
def stepped_twice(mistake: bool) -> None:
    """The optimizer takes two steps for one backward."""
    model = network()
    optimizer = sgd(model)
    for inputs, targets in in_order():
        step(model, optimizer, inputs, targets)
        if mistake:
            optimizer.step()


@case(
    step=0,
    quantity="loss",
    cause="closure-keeps-gradients",
    mend="Make optimizer.zero_grad() the first line of the closure.",
    thread="https://github.com/Lightning-AI/pytorch-lightning/issues/4083",
)
def closure_keeps_gradients(mistake: bool) -> None:
    """LBFGS calls its closure several times, and the gradients pile up."""
    model = network()
    optimizer = LBFGS(model.parameters(), lr=0.5, max_iter=4)
    for inputs, targets in in_order():
        optimizer.zero_grad()

        def closure(x: Tensor = inputs, y: Tensor = targets) -> Tensor:
            if not mistake:
                optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            return loss

        optimizer.step(closure)
