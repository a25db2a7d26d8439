"""Cases in the loss: how it is computed, scaled and rounded."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

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
    "The loss is not divided by the number of accumulated batches",
    mend="divide by it, as a Trainer does",
    step=0,
    quantity="loss",
    cause="loss-divided",
    reference=lambda sick: fit(Port(net()), accumulate_grad_batches=5),
)
def accumulation_undivided(sick: bool) -> None:
    """Five gradients are summed where the Trainer takes their mean."""
    model = net()
    optimizer = adam(model)
    loader = train_loader()
    for _ in range(EPOCHS):
        model.train()
        optimizer.zero_grad()
        for (x,) in loader:
            loss = F.mse_loss(model(x), x)
            (loss if sick else loss / 5).backward()
        optimizer.step()
        evaluate(model)


class Summed(Port):
    """Sums the squares over the features instead of taking their mean."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Give the loss on one batch."""
        (x,) = batch
        return F.mse_loss(self.model(x), x, reduction="sum") / len(x)


@case(
    "The loss is a sum over the features in one run",
    mend="use the same reduction",
    step=0,
    quantity="loss",
    cause="loss-divided",
    reference=by_hand,
)
def summed_loss(sick: bool) -> None:
    """8 features: 8 times the loss."""
    fit((Summed if sick else Port)(net()))


@case(
    "Autocast is forgotten in one run",
    mend='train under torch.autocast("cpu", torch.bfloat16)',
    step=0,
    quantity="loss",
    cause="precision",
    reference=lambda sick: fit(Port(net()), precision="bf16-mixed"),
)
def autocast_forgotten(sick: bool) -> None:
    """Do by hand what precision="bf16-mixed" does."""
    model = net()
    optimizer = adam(model)
    loader = train_loader()
    for _ in range(EPOCHS):
        model.train()
        for (x,) in loader:
            with torch.autocast("cpu", torch.bfloat16, enabled=not sick):
                loss = F.mse_loss(model(x), x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.autocast("cpu", torch.bfloat16, enabled=not sick):
            evaluate(model)


class Classifier(Port):
    """Sorts samples by their largest feature."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Give the loss on one batch."""
        (x,) = batch
        return F.cross_entropy(self.model(x), x.argmax(1))


@case(
    "Autocast covers the model but not the loss",
    mend="compute the loss under autocast too, as a Trainer does",
    step=0,
    quantity="loss",
    cause="precision",
    thread="huggingface/accelerate#101",
    reference=lambda sick: fit(Classifier(net()), precision="bf16-mixed"),
)
def loss_outside_autocast(sick: bool) -> None:
    """Compute the loss in the model's 16 bits; under autocast it is in float32."""
    model = net()
    optimizer = adam(model)
    loader = train_loader()
    for _ in range(EPOCHS):
        model.train()
        for (x,) in loader:
            with torch.autocast("cpu", torch.bfloat16):
                scores = model(x)
            with torch.autocast("cpu", torch.bfloat16, enabled=not sick):
                loss = F.cross_entropy(scores, x.argmax(1))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.autocast("cpu", torch.bfloat16):
            evaluate(model)


@case(
    "Something random is drawn in each step of one run",
    mend="draw from a generator of its own",
    step=1,
    quantity="loss",
    cause="random-in-model",
)
def random_log(sick: bool) -> None:
    """Choosing a sample to log by chance changes what dropout draws next."""
    model = net()
    optimizer = adam(model)
    loader = train_loader()
    generator = None if sick else torch.Generator()
    for _ in range(EPOCHS):
        model.train()
        for (x,) in loader:
            loss = F.mse_loss(model(x), x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            torch.randint(len(x), (1,), generator=generator)
        evaluate(model)


@case(
    "The target is another one",
    mend="compare with the same target",
    step=0,
    quantity="loss",
    cause="loss-function",
)
def other_target(sick: bool) -> None:
    """Shift the target by one sample, which no shape shows."""
    model = net()
    optimizer = adam(model)
    loader = train_loader()
    for _ in range(EPOCHS):
        model.train()
        for (x,) in loader:
            loss = F.mse_loss(model(x), x.roll(1, 0) if sick else x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        evaluate(model)


def _large(threads: int) -> None:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = torch.nn.Linear(8, 32768)
    optimizer = adam(model)
    for (x,) in train_loader():
        loss = model(x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@case(
    "One run uses one thread, the other two",
    mend="call torch.set_num_threads with the same number in both",
    step=0,
    quantity="loss",
    cause="threads",
    reference=lambda sick: _large(1),
)
def threads(sick: bool) -> None:
    """Two threads add up a large sum in two parts: other roundings."""
    _large(2 if sick else 1)
