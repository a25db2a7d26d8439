"""Cases of precision."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from compare.clinic.case import case
from compare.clinic.parts import (
    evaluate,
    in_order,
    network,
    sgd,
    train_epoch,
    validation,
)


@case(
    step=0,
    quantity="loss",
    cause="other-precision",
    mend='Put forward and loss under torch.autocast, as precision="bf16-mixed" does.',
)
def autocast_forgotten(mistake: bool) -> None:
    """One run calculates in bfloat16, the other in float32."""
    model = network()
    optimizer = sgd(model)
    for inputs, targets in in_order():
        with torch.autocast("cpu", torch.bfloat16, enabled=not mistake):
            loss = F.cross_entropy(model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@case(
    step=0,
    quantity="loss",
    cause="loss-outside-autocast",
    mend="Move the loss into the autocast block.",
    thread="https://github.com/huggingface/accelerate/issues/101",
)
def loss_outside_autocast(mistake: bool) -> None:
    """Autocast covers the forward alone, and the loss is taken in bfloat16."""
    model = network()
    optimizer = sgd(model)
    for inputs, targets in in_order():
        with torch.autocast("cpu", torch.bfloat16):
            scores = model(inputs)
            loss = F.cross_entropy(scores, targets)
        if mistake:
            loss = F.cross_entropy(scores, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@case(
    step=5,
    quantity="evaluation",
    cause="evaluation-precision",
    mend="Evaluate under the same autocast as in the other run.",
)
def evaluated_in_full_precision(mistake: bool) -> None:
    """One run evaluates in bfloat16, the other in float32."""
    model = network()
    train_epoch(model, sgd(model), in_order())
    with torch.autocast("cpu", torch.bfloat16, enabled=not mistake):
        evaluate(model, validation())
