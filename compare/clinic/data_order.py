# ruff: noqa: D401 (a case's docstring is its title)
"""Cases in which the samples come in another order."""

from __future__ import annotations

import torch
from torch.utils.data import DataLoader, DistributedSampler, RandomSampler

from compare.clinic.case import case
from compare.clinic.parts import (
    TRAIN,
    Batch,
    EpochSampler,
    evaluate,
    in_order,
    network,
    sgd,
    train_epoch,
    validation,
)


@case(
    step=0,
    quantity="batch",
    cause="not-shuffled",
    mend="Pass shuffle=True, or a sampler. overfit_batches takes it away.",
    thread="https://github.com/Lightning-AI/pytorch-lightning/issues/2600",
)
def shuffle_forgotten(mistake: bool) -> None:
    """The training data is not shuffled."""
    model = network()
    loader = DataLoader(TRAIN, batch_size=4, shuffle=not mistake)
    optimizer = sgd(model)
    for _ in range(2):
        train_epoch(model, optimizer, loader)


@case(
    step=6,
    quantity="batch",
    cause="order-repeats",
    mend="Call sampler.set_epoch(epoch) before each epoch.",
)
def set_epoch_forgotten(mistake: bool) -> None:
    """A DistributedSampler is not told the epoch."""
    model = network()
    sampler: DistributedSampler[Batch] = DistributedSampler(
        TRAIN, num_replicas=1, rank=0, seed=3
    )
    loader = DataLoader(TRAIN, batch_size=4, sampler=sampler)
    optimizer = sgd(model)
    for epoch in range(2):
        if not mistake:
            sampler.set_epoch(epoch)
        train_epoch(model, optimizer, loader)


@case(
    step=6,
    quantity="batch",
    cause="own-generator",
    mend="Use a sampler whose order depends on seed + epoch alone.",
)
def generator_drawn_once_more(mistake: bool) -> None:
    """One loop leaves a shuffling loader before it is exhausted, as a Trainer does."""
    model = network()
    generator = torch.Generator().manual_seed(3)
    sampler = RandomSampler(TRAIN, generator=generator)
    loader = DataLoader(TRAIN, batch_size=4, sampler=sampler)
    optimizer = sgd(model)
    for _ in range(2):
        batches = iter(loader)
        train_epoch(model, optimizer, [next(batches) for _ in range(len(loader))])
        if mistake:
            next(batches, None)  # the end of a for loop asks once more


@case(
    step=0,
    quantity="batch",
    cause="sanity-pass",
    mend="Save the generator's state before the pass and restore it afterwards.",
)
def sanity_pass_draws(mistake: bool) -> None:
    """A hand-written pass over validation data moves the global generator."""
    model = network()
    if mistake:
        evaluate(model, DataLoader(TRAIN, batch_size=4))
    train_epoch(model, sgd(model), DataLoader(TRAIN, batch_size=4, shuffle=True))


@case(
    step=0,
    quantity="batch",
    cause="drawn-before-first-batch",
    mend="Seed right before the loader is iterated, or give it a generator.",
)
def random_before_loader(mistake: bool) -> None:
    """Something random happens between the seed and the first batch."""
    model = network()
    if mistake:
        torch.randn(1)
    train_epoch(model, sgd(model), DataLoader(TRAIN, batch_size=4, shuffle=True))


@case(
    step=6,
    quantity="batch",
    cause="drawn-between-epochs",
    mend="Give each loader a generator of its own, or a sampler seeded by the epoch.",
)
def random_between_epochs(mistake: bool) -> None:
    """A picture is drawn from random numbers after each epoch."""
    model = network()
    loader = DataLoader(TRAIN, batch_size=4, shuffle=True)
    optimizer = sgd(model)
    for _ in range(2):
        train_epoch(model, optimizer, loader)
        evaluate(model, validation())
        if mistake:
            torch.randn(16)


@case(
    step=0,
    quantity="batch",
    cause="other-order",
    mend="Give the samplers the same seed.",
)
def sampler_seed_differs(mistake: bool) -> None:
    """The sampler has a seed of its own, and it is another one."""
    model = network()
    sampler = EpochSampler()
    sampler.set_epoch(100 if mistake else 0)
    train_epoch(model, sgd(model), DataLoader(TRAIN, batch_size=4, sampler=sampler))


@case(
    step=5,
    quantity="evaluation",
    cause="evaluation-missing",
    mend="Evaluate in both runs, or give the validation loader its own generator.",
)
def validation_skipped(mistake: bool) -> None:
    """One run skips validation, whose loader draws from the global generator."""
    model = network(dropout=0.5)
    optimizer = sgd(model)
    for _ in range(2):
        train_epoch(model, optimizer, in_order())
        if not mistake:
            evaluate(model, DataLoader(TRAIN, batch_size=4))
