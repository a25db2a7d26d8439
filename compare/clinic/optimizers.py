"""Cases in the optimizer: its kind, its settings, its state."""

from collections.abc import Callable
from typing import Any

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
    quiet_trainer,
    train_loader,
    val_loader,
)


class With(Port):
    """Trains with whatever optimizer it is given."""

    def __init__(self, model: Any, make: Callable[[Any], torch.optim.Optimizer]):
        super().__init__(model)
        self.make = make

    def configure_optimizers(self) -> Any:
        """Make the optimizer."""
        return self.make(self.model)


@case(
    "One optimizer decays the weights",
    mend="give both the same weight_decay",
    step=0,
    quantity="weights",
    cause="optimizer-options",
    reference=by_hand,
)
def weight_decay(sick: bool) -> None:
    """Make other weights of the same gradient and learning rate."""
    fit(With(net(), lambda model: adam(model, weight_decay=0.01 if sick else 0)))


@case(
    "Another eps",
    mend="set eps alike",
    step=0,
    quantity="weights",
    cause="optimizer-options",
    reference=by_hand,
)
def other_eps(sick: bool) -> None:
    """Defaults differ between libraries."""
    fit(With(net(), lambda model: adam(model, eps=1e-6 if sick else 1e-8)))


@case(
    "AdamW in one run, Adam in the other",
    mend="use the same class",
    step=0,
    quantity="weights",
    cause="optimizer-class",
    reference=by_hand,
)
def adamw(sick: bool) -> None:
    """AdamW decays by default, and in another way."""
    adamw = torch.optim.AdamW
    fit(With(net(), lambda m: adamw(m.parameters(), lr=0.01) if sick else adam(m)))


@case(
    "The optimizer is made anew in each epoch",
    mend="make it once, before the epochs",
    step=5,
    quantity="weights",
    cause="optimizer-state",
)
def optimizer_anew(sick: bool) -> None:
    """Its moments start from nothing again."""
    model = net()
    optimizer = adam(model)
    loader = train_loader()
    for _ in range(EPOCHS):
        model.train()
        if sick:
            optimizer = adam(model)
        for (x,) in loader:
            loss = F.mse_loss(model(x), x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        evaluate(model)


@case(
    "The checkpoint's keys have a prefix, and strict=False loads nothing",
    mend="take the prefix off, and keep strict=True",
    step=0,
    quantity="initial weights",
    cause="partly-loaded",
    reference=lambda sick: _loaded(""),
)
def strict_false(sick: bool) -> None:
    """Load weights named as in a LightningModule: model.0.weight and so on."""
    _loaded("model." if sick else "")


def _loaded(prefix: str) -> None:
    torch.manual_seed(1)
    trained = torch.nn.Linear(8, 6)
    model = net()
    weights = {f"{prefix}{key}": value for key, value in trained.state_dict().items()}
    model[0].load_state_dict(weights, strict=False)
    torch.manual_seed(0)
    fit(Port(model))


def _fitted_long(sick: bool) -> None:
    model = net()
    optimizer = adam(model)
    loader = train_loader()
    for _ in range(2 * EPOCHS):
        model.train()
        for (x,) in loader:
            loss = F.mse_loss(model(x), x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        evaluate(model)


@case(
    "A second fit() on one Trainer runs no step",
    mend="ask for all epochs at once, or resume with a larger max_epochs",
    step=10,
    quantity="length",
    cause="length",
    reference=_fitted_long,
)
def second_fit(sick: bool) -> None:
    """Fit twice with a Trainer that has done its epochs after the first time."""
    trainer = quiet_trainer(max_epochs=EPOCHS if sick else 2 * EPOCHS)
    port, loaders = Port(net()), (train_loader(), val_loader())
    trainer.fit(port, *loaders)
    if sick:
        trainer.fit(port, *loaders)


def _wide(*, fused: bool) -> None:
    torch.manual_seed(0)
    model = torch.nn.Linear(8, 8192)
    optimizer = adam(model, fused=fused)
    for (x,) in train_loader():
        loss = model(x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@case(
    "The fused kernel in one run",
    mend="set fused alike",
    step=0,
    quantity="weights",
    cause="optimizer-kernel",
    reference=lambda sick: _wide(fused=False),
)
def fused_kernel(sick: bool) -> None:
    """Compute the same formula with other roundings."""
    _wide(fused=sick)
