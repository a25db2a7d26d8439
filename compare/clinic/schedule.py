# ruff: noqa: D401 (a case's docstring is its title)
"""Cases of the learning rate's schedule."""

from __future__ import annotations

from torch.optim.lr_scheduler import ExponentialLR

from compare.clinic.case import case
from compare.clinic.parts import in_order, network, sgd, step


@case(
    step=0,
    quantity="learning rate",
    cause="scheduler-too-early",
    mend="Call scheduler.step() after optimizer.step().",
)
def scheduler_before_optimizer(mistake: bool) -> None:
    """The scheduler is stepped before the optimizer: the first value is skipped."""
    model = network()
    optimizer = sgd(model)
    scheduler = ExponentialLR(optimizer, 0.9)
    for inputs, targets in in_order():
        if mistake:
            scheduler.step()
        step(model, optimizer, inputs, targets)
        if not mistake:
            scheduler.step()


@case(
    step=1,
    quantity="learning rate",
    cause="scheduler-interval",
    mend="Step once an epoch in both runs, or once a step in both.",
    thread="https://github.com/Lightning-AI/pytorch-lightning/issues/5631",
)
def scheduler_every_step(mistake: bool) -> None:
    """The scheduler is stepped after each step, where an epoch was meant."""
    model = network()
    optimizer = sgd(model)
    scheduler = ExponentialLR(optimizer, 0.9)
    for _ in range(2):
        for inputs, targets in in_order():
            step(model, optimizer, inputs, targets)
            if mistake:
                scheduler.step()
        if not mistake:
            scheduler.step()


@case(
    step=6,
    quantity="learning rate",
    cause="other-schedule",
    mend="Pass the same options to both schedulers.",
)
def schedule_decays_faster(mistake: bool) -> None:
    """The schedules have different factors."""
    model = network()
    optimizer = sgd(model)
    scheduler = ExponentialLR(optimizer, 0.1 if mistake else 0.9)
    for _ in range(2):
        for inputs, targets in in_order():
            step(model, optimizer, inputs, targets)
        scheduler.step()
