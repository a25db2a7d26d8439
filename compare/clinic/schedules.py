"""Cases in the learning rate and its schedule."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor
from torch.optim.lr_scheduler import StepLR

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


def by_hand_with_schedule(*, each_step: bool) -> None:
    """Halve the learning rate after each step, or after each epoch."""
    model = net()
    optimizer = adam(model)
    scheduler = StepLR(optimizer, 1, gamma=0.5)
    loader = train_loader()
    for _ in range(EPOCHS):
        model.train()
        for (x,) in loader:
            loss = F.mse_loss(model(x), x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if each_step:
                scheduler.step()
        if not each_step:
            scheduler.step()
        evaluate(model)


class Scheduled(Port):
    """Has a scheduler, stepped each `interval`."""

    interval = "epoch"

    def configure_optimizers(self) -> Any:
        """Make the optimizer and its scheduler."""
        optimizer = adam(self.model)
        scheduler = StepLR(optimizer, 1, gamma=0.5)
        return [optimizer], [{"scheduler": scheduler, "interval": self.interval}]


@case(
    "The scheduler steps each epoch in the Trainer, which is its default",
    mend='configure it with "interval": "step"',
    step=1,
    quantity="learning rate",
    cause="scheduler-interval",
    thread="Lightning-AI/pytorch-lightning#5631",
    reference=lambda sick: by_hand_with_schedule(each_step=True),
)
def scheduler_interval(sick: bool) -> None:
    """Step by epoch, where the loop steps its scheduler after each batch."""
    port = Scheduled(net())
    port.interval = "epoch" if sick else "step"
    fit(port)


class Manual(Scheduled):
    """Steps by itself, and the scheduler only if told to."""

    schedule = True

    def __init__(self, model: Any):
        super().__init__(model)
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Do what a Trainer does under automatic optimization."""
        optimizer: Any = self.optimizers()
        loss = F.mse_loss(self.model(batch[0]), batch[0])
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()
        return loss

    def on_train_epoch_end(self) -> None:
        """Step the scheduler, which no one else does."""
        if self.schedule:
            scheduler: Any = self.lr_schedulers()
            scheduler.step()


@case(
    "Manual optimization does not step the scheduler",
    mend="call self.lr_schedulers().step() at the end of each epoch",
    step=5,
    quantity="learning rate",
    cause="scheduler-missing",
    thread="Lightning-AI/pytorch-lightning#6825",
    reference=lambda sick: by_hand_with_schedule(each_step=False),
)
def manual_scheduler(sick: bool) -> None:
    """Under manual optimization the Trainer leaves schedulers alone."""
    port = Manual(net())
    port.schedule = not sick
    fit(port)


class EachStep(Scheduled):
    """Steps its scheduler after each batch."""

    interval = "step"


@case(
    "The scheduler steps before the optimizer",
    mend="call scheduler.step() after optimizer.step()",
    step=0,
    quantity="learning rate",
    cause="scheduler-shift",
    reference=lambda sick: fit(EachStep(net())),
)
def scheduler_first(sick: bool) -> None:
    """Never use the first learning rate."""
    model = net()
    optimizer = adam(model)
    scheduler = StepLR(optimizer, 1, gamma=0.5)
    loader = train_loader()
    for _ in range(EPOCHS):
        model.train()
        for (x,) in loader:
            loss = F.mse_loss(model(x), x)
            optimizer.zero_grad()
            loss.backward()
            if sick:
                scheduler.step()
            optimizer.step()
            if not sick:
                scheduler.step()
        evaluate(model)


class Scaled(Port):
    """Scales the learning rate, as one does for more processes."""

    def configure_optimizers(self) -> Any:
        """Make the optimizer."""
        optimizer = adam(self.model)
        optimizer.param_groups[0]["lr"] *= 2
        return optimizer


@case(
    "The learning rate is scaled in one run",
    mend="start from the same learning rate",
    step=0,
    quantity="learning rate",
    cause="first-rate",
    reference=by_hand,
)
def scaled_rate(sick: bool) -> None:
    """Twice the learning rate, as if for two processes."""
    fit((Scaled if sick else Port)(net()))
