# ruff: noqa: D401 (a case's docstring is its title)
"""Cases of what happens between the loss and the optimizer's step."""

from __future__ import annotations

import torch
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from compare.clinic.case import case
from compare.clinic.parts import in_order, network, sgd


@case(
    step=1,
    quantity="gradient",
    cause="zero-grad-forgotten",
    mend="Call optimizer.zero_grad() before backward.",
)
def zero_grad_forgotten(mistake: bool) -> None:
    """The gradients of all steps add up."""
    model = network()
    optimizer = sgd(model)
    for inputs, targets in in_order():
        loss = F.cross_entropy(model(inputs), targets)
        if not mistake:
            optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@case(
    step=0,
    quantity="loss",
    cause="loss-not-divided",
    mend="Divide the loss by the number of accumulated batches.",
)
def accumulation_not_divided(mistake: bool) -> None:
    """Gradients are accumulated over two batches, and summed instead of averaged."""
    model = network()
    optimizer = sgd(model)
    for index, (inputs, targets) in enumerate(in_order()):
        loss = F.cross_entropy(model(inputs), targets)
        (loss if mistake else loss / 2).backward()
        if index % 2 == 1:
            optimizer.step()
            optimizer.zero_grad()


@case(
    step=1,
    quantity="batch",
    cause="accumulation-window",
    mend="Step on the epoch's last batch too, as a Trainer does.",
)
def accumulation_carried_over(mistake: bool) -> None:
    """The last, short accumulation window waits for the next epoch."""
    model = network()
    optimizer = sgd(model)
    for _ in range(2):
        for number, (inputs, targets) in enumerate(in_order(), start=1):
            (F.cross_entropy(model(inputs), targets) / 4).backward()
            if number % 4 == 0 or (number == 6 and not mistake):
                optimizer.step()
                optimizer.zero_grad()


@case(
    step=0,
    quantity="gradient",
    cause="clipped-by-norm",
    mend="Clip in both runs, at the same norm.",
)
def clipping_forgotten(mistake: bool) -> None:
    """The gradient is not clipped."""
    model = network()
    optimizer = sgd(model)
    for inputs, targets in in_order():
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), targets).backward()
        if not mistake:
            clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()


@case(
    step=0,
    quantity="gradient",
    cause="gradient-changed",
    mend='Choose the same algorithm: a Trainer\'s gradient_clip_algorithm is "norm".',
)
def clipped_by_value(mistake: bool) -> None:
    """Each value of the gradient is clipped, where the norm was meant."""
    model = network()
    optimizer = sgd(model)
    for inputs, targets in in_order():
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), targets).backward()
        if mistake:
            clip_grad_value_(model.parameters(), 0.2)
        else:
            clip_grad_norm_(model.parameters(), 2.0)
        optimizer.step()


@case(
    step=0,
    quantity="gradient",
    cause="clipped-before-unscaling",
    mend="Call scaler.unscale_(optimizer) before clipping.",
    thread="https://github.com/Lightning-AI/pytorch-lightning/issues/9330",
)
def clipped_before_unscaling(mistake: bool) -> None:
    """The gradient is clipped while it is still multiplied by the loss scale."""
    model = network()
    optimizer = sgd(model)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
    for inputs, targets in in_order():
        optimizer.zero_grad()
        scaler.scale(F.cross_entropy(model(inputs), targets)).backward()
        if not mistake:
            scaler.unscale_(optimizer)
        clip_grad_norm_(model.parameters(), 0.1)
        scaler.step(optimizer)
        scaler.update()


@case(
    step=0,
    quantity="gradient",
    cause="frozen",
    mend="Set requires_grad alike in both runs.",
)
def first_layer_frozen(mistake: bool) -> None:
    """The first layer is frozen in one run only."""
    model = network()
    model[0].requires_grad_(not mistake)
    optimizer = sgd(model)
    for inputs, targets in in_order():
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), targets).backward()
        optimizer.step()


@case(
    step=0,
    quantity="loss",
    cause="token-mean",
    mend="Sum the losses and divide by the number of targets in both batches.",
)
def mean_of_means(mistake: bool) -> None:
    """Over two batches with other numbers of targets, their means are averaged."""
    model = network()
    optimizer = sgd(model)
    for index, (inputs, targets) in enumerate(in_order()):
        kept = targets.clone()
        if index % 2:
            kept[1:] = -100  # one target here, four in the batch before
        scores = model(inputs)
        if mistake:
            (F.cross_entropy(scores, kept) / 2).backward()
        else:
            (F.cross_entropy(scores, kept, reduction="sum") / 5).backward()
        if index % 2:
            optimizer.step()
            optimizer.zero_grad()


@case(
    step=0,
    quantity="gradient",
    cause="gradient-factor",
    mend="Average the gradients over the processes.",
)
def gradients_summed(mistake: bool) -> None:
    """The gradients of two processes are summed and not averaged."""
    model = network()
    optimizer = sgd(model)
    for inputs, targets in in_order():
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), targets).backward()
        for parameter in model.parameters():
            if mistake and parameter.grad is not None:
                parameter.grad *= 2
        optimizer.step()


@case(
    step=0,
    quantity="gradient",
    cause="other-backward",
    mend="Detach in both runs, or in neither.",
)
def detached_before_clipping(mistake: bool) -> None:
    """A term is cut off from the gradient, and both runs clip at the same norm."""
    model = network()
    optimizer = sgd(model)
    for inputs, targets in in_order():
        optimizer.zero_grad()
        scores = model(inputs)
        penalty = scores.square().mean()
        term = penalty.detach() if mistake else penalty
        (F.cross_entropy(scores, targets) + term).backward()
        clip_grad_norm_(model.parameters(), 0.01)
        optimizer.step()
