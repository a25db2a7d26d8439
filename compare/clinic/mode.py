# ruff: noqa: D401 (a case's docstring is its title)
"""Cases of train and eval mode, and of what is evaluated."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.utils.data import DataLoader, DistributedSampler

from compare.clinic.case import case
from compare.clinic.parts import (
    VALID,
    Batch,
    evaluate,
    in_order,
    network,
    sgd,
    step,
    train_epoch,
    validation,
)


@case(
    step=5,
    quantity="evaluation",
    cause="eval-forgotten",
    mend="Call model.eval() before the evaluation.",
)
def eval_forgotten(mistake: bool) -> None:
    """The model is evaluated in train mode."""
    model = network(dropout=0.5)
    train_epoch(model, sgd(model), in_order())
    model.train(mistake)
    with torch.no_grad():
        for inputs, _ in validation():
            model(inputs)


@case(
    step=6,
    quantity="mode",
    cause="train-forgotten",
    mend="Call model.train() at the start of each epoch.",
)
def train_forgotten(mistake: bool) -> None:
    """After the first evaluation the model stays in eval mode."""
    model = network(dropout=0.5)
    optimizer = sgd(model)
    for _ in range(2):
        for inputs, targets in in_order():
            step(model, optimizer, inputs, targets)
        evaluate(model, validation())
        model.train(not mistake)


@case(
    step=0,
    quantity="mode",
    cause="frozen-layers-mode",
    mend="Keep the frozen layers in eval mode: train() wakes them at every epoch.",
)
def frozen_batchnorm_learns(mistake: bool) -> None:
    """A frozen backbone's BatchNorm goes on learning its statistics."""
    model = network(norm=True)
    optimizer = torch.optim.SGD(model[4].parameters(), lr=0.1)
    model.train()
    if not mistake:
        model[:2].eval()
    for inputs, targets in in_order():
        step(model, optimizer, inputs, targets)


@case(
    step=0,
    quantity="buffers",
    cause="other-layers",
    mend="Give BatchNorm the same momentum: 0.1 in PyTorch is 0.9 elsewhere.",
)
def batchnorm_momentum(mistake: bool) -> None:
    """BatchNorm's momentum is meant the other way round, as in Keras."""
    model = network(norm=True)
    for layer in model:
        if mistake and isinstance(layer, nn.BatchNorm1d):
            layer.momentum = 0.9
    train_epoch(model, sgd(model), in_order())
    evaluate(model, validation())


@case(
    step=5,
    quantity="evaluation",
    cause="batchnorm-statistics",
    mend="Save and load buffers too: use state_dict(), not the parameters.",
)
def buffers_not_loaded(mistake: bool) -> None:
    """Only the parameters of a trained model are copied for evaluation."""
    model = network(norm=True)
    train_epoch(model, sgd(model), in_order())
    restored = network(norm=True)
    restored.load_state_dict(
        dict(model.named_parameters()) if mistake else model.state_dict(),
        strict=False,
    )
    evaluate(restored, validation())


@case(
    step=5,
    quantity="evaluation",
    cause="evaluated-other-weights",
    mend="Evaluate the weights that were trained, or average in both runs.",
)
def average_evaluated(mistake: bool) -> None:
    """One run evaluates averaged weights (EMA), the other the last ones."""
    model = network()
    optimizer = sgd(model)
    average = torch.optim.swa_utils.AveragedModel(model)
    for inputs, targets in in_order():
        step(model, optimizer, inputs, targets)
        average.update_parameters(model)
    evaluate(average.module if mistake else model, validation())


@case(
    step=5,
    quantity="evaluation",
    cause="evaluation-share",
    mend="Evaluate on one process, or gather and drop the duplicates.",
    thread="https://github.com/pytorch/pytorch/issues/25162",
)
def evaluation_sharded(mistake: bool) -> None:
    """Under DDP each process evaluates only its share."""
    model = network()
    train_epoch(model, sgd(model), in_order())
    share: DistributedSampler[Batch] = DistributedSampler(
        VALID, num_replicas=2, rank=0, shuffle=False
    )
    evaluate(model, DataLoader(VALID, 4, sampler=share) if mistake else validation())


@case(
    step=6,
    quantity="loss",
    cause="weights-changed-outside",
    mend="Swap the trained weights back after the evaluation.",
)
def average_not_swapped_back(mistake: bool) -> None:
    """Averaged weights are loaded for validation, and training goes on from them."""
    model = network()
    optimizer = sgd(model)
    average = torch.optim.swa_utils.AveragedModel(model)
    for _ in range(2):
        for inputs, targets in in_order():
            step(model, optimizer, inputs, targets)
            average.update_parameters(model)
        trained = copy.deepcopy(model.state_dict())
        model.load_state_dict(average.module.state_dict())
        evaluate(model, validation())
        if not mistake:
            model.load_state_dict(trained)


@case(
    step=5,
    quantity="evaluation",
    cause="evaluation-order",
    mend="Leave shuffle=True out of the evaluation's loader.",
)
def evaluation_shuffled(mistake: bool) -> None:
    """The evaluation's loader shuffles."""
    model = network()
    train_epoch(model, sgd(model), in_order())
    order = torch.Generator().manual_seed(1)
    loader = DataLoader(VALID, 4, shuffle=True, generator=order)
    evaluate(model, loader if mistake else validation())


@case(
    step=5,
    quantity="evaluation",
    cause="evaluation-data",
    mend="Evaluate on the same data.",
)
def evaluated_on_other_data(mistake: bool) -> None:
    """One run evaluates on a part of the training data."""
    model = network()
    train_epoch(model, sgd(model), in_order())
    evaluate(model, list(in_order())[:2] if mistake else validation())
