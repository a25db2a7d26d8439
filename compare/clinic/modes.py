"""Cases in the mode of the layers, and in evaluation."""

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

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
    val_loader,
)


@case(
    "train() is forgotten after the evaluation",
    mend="call model.train() at the start of each epoch",
    step=5,
    quantity="mode",
    cause="eval-stays",
)
def train_forgotten(sick: bool) -> None:
    """From the second epoch on nothing is dropped, and batch norm stands still."""
    model = net()
    optimizer = adam(model)
    loader = train_loader()
    for epoch in range(EPOCHS):
        if epoch == 0 or not sick:
            model.train()
        for (x,) in loader:
            loss = F.mse_loss(model(x), x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        evaluate(model)


@case(
    "eval() before fit() stays",
    mend="call train() before fit(): it leaves the mode of each layer as it is",
    step=0,
    quantity="mode",
    cause="eval-stays",
    thread="Lightning-AI/pytorch-lightning#18951",
    reference=by_hand,
)
def eval_before_fit(sick: bool) -> None:
    """Train a model in eval mode, as one that was just loaded and looked at."""
    port = Port(net())
    port.train(not sick)
    fit(port)


@case(
    "eval() is forgotten before the evaluation",
    mend="call model.eval() before it",
    step=4,
    quantity="evaluation",
    cause="eval-forgotten",
)
def eval_forgotten(sick: bool) -> None:
    """Dropout drops in evaluation too, and batch norm learns from it."""
    model = net()
    optimizer = adam(model)
    loader = train_loader()
    for _ in range(EPOCHS):
        model.train()
        for (x,) in loader:
            loss = F.mse_loss(model(x), x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.train(sick)
        with torch.no_grad():
            for (x,) in val_loader():
                F.mse_loss(model(x), x)


class FrozenNorm(Port):
    """Keeps batch norm in eval mode."""

    def on_train_epoch_start(self) -> None:
        """Freeze it in each epoch, after the Trainer has set the modes."""
        self.model.get_submodule("1").eval()


@case(
    "train() puts frozen batch norm back into train mode",
    mend="call eval() on the frozen layers after each train()",
    step=0,
    quantity="mode",
    cause="eval-stays",
    reference=lambda sick: fit(FrozenNorm(net())),
)
def frozen_norm(sick: bool) -> None:
    """train() goes down into every layer."""
    model = net()
    optimizer = adam(model)
    loader = train_loader()
    for _ in range(EPOCHS):
        model.train()
        if not sick:
            model[1].eval()
        for (x,) in loader:
            loss = F.mse_loss(model(x), x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        evaluate(model)


@case(
    "The evaluation runs on averaged weights in one run",
    mend="evaluate the weights that are trained in both, or the average in both",
    step=4,
    quantity="evaluation",
    cause="evaluated-weights",
)
def averaged_weights(sick: bool) -> None:
    """Evaluate an average, which lags behind what it averages."""
    model = net()
    average = copy.deepcopy(model)
    optimizer = adam(model)
    loader = train_loader()
    for _ in range(EPOCHS):
        model.train()
        for (x,) in loader:
            loss = F.mse_loss(model(x), x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            for slow, fast in zip(
                average.parameters(), model.parameters(), strict=True
            ):
                slow.data.lerp_(fast.data, 0.1)
        evaluate(average if sick else model)


@case(
    "The evaluation is cut short in one run",
    mend="evaluate all batches: limit_val_batches=1.0",
    step=4,
    quantity="evaluation",
    cause="evaluation-batches",
    reference=by_hand,
)
def limit_val_batches(sick: bool) -> None:
    """Take the mean over fewer batches."""
    fit(Port(net()), limit_val_batches=1 if sick else 1.0)


@case(
    "Batch norm with another momentum",
    mend="build the same layers: nn.BatchNorm1d(6, momentum=0.1)",
    step=0,
    quantity="weights",
    cause="norm-statistics",
    reference=by_hand,
)
def norm_momentum(sick: bool) -> None:
    """Training is the same for ever; only the evaluation is not."""
    model = net()
    norm: Any = model[1]
    norm.momentum = 0.01 if sick else 0.1
    fit(Port(model))


def _without_dropout() -> nn.Sequential:
    model = net()
    model[3] = nn.Identity()
    return model


@case(
    "The model is called once more in each step, for a metric",
    mend="call it once and compute the metric from that output",
    step=0,
    quantity="weights",
    cause="norm-statistics",
    reference=lambda sick: fit(Port(_without_dropout())),
)
def called_twice(sick: bool) -> None:
    """In train mode each call teaches batch norm, with gradients or without."""
    model = _without_dropout()
    optimizer = adam(model)
    loader = train_loader()
    for _ in range(EPOCHS):
        model.train()
        for (x,) in loader:
            loss = F.mse_loss(model(x), x)
            if sick:
                with torch.no_grad():
                    F.l1_loss(model(x), x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        evaluate(model)
