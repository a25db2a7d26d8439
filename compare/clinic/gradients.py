"""Cases between backward and step."""

import torch
import torch.nn.functional as F

from compare.clinic.case import case
from compare.clinic.kit import (
    EPOCHS,
    Port,
    adam,
    by_hand,
    evaluate,
    fit,
    net,
    train_loader,
)


@case(
    "zero_grad() is forgotten",
    mend="call optimizer.zero_grad() in each step",
    step=1,
    quantity="gradient",
    cause="zero-grad",
)
def zero_grad_forgotten(sick: bool) -> None:
    """Let the second step see the sum of two gradients."""
    model = net()
    optimizer = adam(model)
    loader = train_loader()
    for _ in range(EPOCHS):
        model.train()
        for (x,) in loader:
            loss = F.mse_loss(model(x), x)
            if not sick:
                optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        evaluate(model)


@case(
    "The gradient is clipped in one run only",
    mend="clip to the Trainer's gradient_clip_val",
    step=0,
    quantity="gradient",
    cause="clipping",
    reference=lambda sick: fit(Port(net()), gradient_clip_val=0.1),
)
def clipping_forgotten(sick: bool) -> None:
    """Hold the norm at 0.1, or let it go where it will."""
    model = net()
    optimizer = adam(model)
    loader = train_loader()
    for _ in range(EPOCHS):
        model.train()
        for (x,) in loader:
            loss = F.mse_loss(model(x), x)
            optimizer.zero_grad()
            loss.backward()
            if not sick:
                torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            optimizer.step()
        evaluate(model)


@case(
    "The gradient is clipped by value in one run and by norm in the other",
    mend='choose gradient_clip_algorithm="norm", which clip_grad_norm_ does',
    step=0,
    quantity="gradient",
    cause="clip-value",
    reference=lambda sick: _clipped_by_value(),
)
def clip_algorithm(sick: bool) -> None:
    """Clipping by value bends the gradient; clipping by norm shortens it."""
    algorithm = "norm" if sick else "value"
    fit(Port(net()), gradient_clip_val=0.02, gradient_clip_algorithm=algorithm)


def _clipped_by_value() -> None:
    model = net()
    optimizer = adam(model)
    loader = train_loader()
    for _ in range(EPOCHS):
        model.train()
        for (x,) in loader:
            loss = F.mse_loss(model(x), x)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_value_(model.parameters(), 0.02)
            optimizer.step()
        evaluate(model)


@case(
    "The gradient is clipped before it is unscaled",
    mend="call scaler.unscale_(optimizer) before clipping",
    step=0,
    quantity="gradient",
    cause="loss-scale",
    thread="Lightning-AI/pytorch-lightning#9330",
    reference=lambda sick: _scaled(unscale_first=True),
)
def clip_before_unscale(sick: bool) -> None:
    """Clip the scaled gradient to 0.1, and only then divide it by the scale."""
    _scaled(unscale_first=not sick)


def _scaled(*, unscale_first: bool) -> None:
    model = net()
    optimizer = adam(model)
    loader = train_loader()
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for _ in range(EPOCHS):
        model.train()
        for (x,) in loader:
            loss = F.mse_loss(model(x), x)
            optimizer.zero_grad()
            scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            if unscale_first:
                scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            scaler.step(optimizer)
            scaler.update()
        evaluate(model)


@case(
    "The last, short window of accumulation is carried into the next epoch",
    mend="step on an epoch's last batch too, as a Trainer does",
    step=2,
    quantity="batch",
    cause="accumulation-window",
    reference=lambda sick: fit(Port(net()), accumulate_grad_batches=2),
)
def accumulation_window(sick: bool) -> None:
    """5 batches in windows of 2: the Trainer's third step has one batch."""
    model = net()
    optimizer = adam(model)
    loader = train_loader()
    for _ in range(EPOCHS):
        model.train()
        for i, (x,) in enumerate(loader, start=1):
            (F.mse_loss(model(x), x) / 2).backward()
            if i % 2 == 0 or (i == len(loader) and not sick):
                optimizer.step()
                optimizer.zero_grad()
        evaluate(model)


@case(
    "A layer is frozen in one run",
    mend="freeze the same layers, or none",
    step=0,
    quantity="gradient",
    cause="no-gradient",
    reference=by_hand,
)
def frozen_layer(sick: bool) -> None:
    """Its gradient stays None."""
    model = net()
    model[0].requires_grad_(not sick)
    fit(Port(model))
