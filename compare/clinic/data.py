"""Cases in the data: its order, its number, its values."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import RandomSampler, TensorDataset

from compare.clinic.case import case
from compare.clinic.kit import (
    EPOCHS,
    Loader,
    Port,
    adam,
    by_hand,
    evaluate,
    fit,
    net,
    samples,
    train_loader,
)


def train(model: nn.Module, loader: Loader, epoch_begins: Any = None) -> None:
    """Train healthily by hand, for cases whose mistake is elsewhere."""
    optimizer = adam(model)
    for epoch in range(EPOCHS):
        if epoch_begins:
            epoch_begins(epoch)
        model.train()
        for (x,) in loader:
            loss = F.mse_loss(model(x), x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        evaluate(model)


class EpochSampler(RandomSampler):
    """An order that depends on seed and epoch alone."""

    epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch; a Trainer calls this by itself."""
        self.epoch = epoch

    def __iter__(self) -> Any:
        generator = torch.Generator().manual_seed(100 + self.epoch)
        return iter(torch.randperm(len(self), generator=generator).tolist())


def _own_generator(sick: bool) -> Loader:
    if sick:
        return train_loader(generator=torch.Generator().manual_seed(0))
    return train_loader(sampler=EpochSampler(samples()))


def _own_generator_by_trainer(sick: bool) -> None:
    fit(Port(net()), _own_generator(sick))


@case(
    "A shuffling loader with a generator of its own",
    mend="shuffle with a sampler seeded by the epoch, and call its set_epoch",
    step=5,
    quantity="batch",
    cause="explicit-generator",
    reference=_own_generator_by_trainer,
)
def shuffle_with_generator(sick: bool) -> None:
    """Exhaust the sampler, which then draws; a Trainer stops before."""
    model, loader = net(), _own_generator(sick)
    train(model, loader, None if sick else loader.sampler.set_epoch)  # type: ignore[attr-defined]


def _epoch_sampler_by_trainer(sick: bool) -> None:
    fit(Port(net()), train_loader(sampler=EpochSampler(samples())))


@case(
    "set_epoch is forgotten: every epoch has the order of the first",
    mend="call sampler.set_epoch(epoch), as a Trainer does",
    step=5,
    quantity="batch",
    cause="set-epoch",
    reference=_epoch_sampler_by_trainer,
)
def set_epoch_forgotten(sick: bool) -> None:
    """Tell the sampler the epoch, or forget it."""
    model, sampler = net(), EpochSampler(samples())
    train(model, train_loader(sampler=sampler), None if sick else sampler.set_epoch)


@case(
    "The loop leaves out the validation that the Trainer does",
    mend="evaluate where the other run does, or give each loader a generator",
    step=5,
    quantity="batch",
    cause="evaluation-draws",
)
def validation_skipped(sick: bool) -> None:
    """Start no validation loader, which would draw and so reorder epoch 1."""
    model, loader = net(), train_loader()
    optimizer = adam(model)
    for _ in range(EPOCHS):
        model.train()
        for (x,) in loader:
            loss = F.mse_loss(model(x), x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if not sick:
            evaluate(model)


@case(
    "A sanity pass written by hand moves the random state",
    mend="put the pass under torch.random.fork_rng(), as a Trainer does",
    step=0,
    quantity="batch",
    cause="random-before",
)
def sanity_pass(sick: bool) -> None:
    """Pass over the validation data, whose loader draws when it starts."""
    model = net()
    if sick:
        evaluate(model)
    else:
        with torch.random.fork_rng(devices=[]):
            evaluate(model)
    train(model, train_loader())


@case(
    "Something random runs between the model and the loop",
    mend="seed again right before the loop, or draw from a generator of its own",
    step=0,
    quantity="batch",
    cause="random-before",
)
def example_input(sick: bool) -> None:
    """Draw an example input for a graph of the model, which reorders the data."""
    model = net()
    generator = None if sick else torch.Generator()
    torch.randn(8, 8, generator=generator)
    train(model, train_loader())


@case(
    "Something random runs between the seed and the model",
    mend="seed on the line before the model",
    step=0,
    quantity="initial weights",
    cause="seed",
)
def random_before_model(sick: bool) -> None:
    """Draw a random split, say, from the state that the weights are drawn from."""
    model = net()
    if sick:
        torch.manual_seed(0)
        torch.randperm(40)
        for layer in model:
            if isinstance(layer, nn.Linear):
                layer.reset_parameters()
    train(model, train_loader())


@case(
    "overfit_batches turns the shuffling off",
    mend="leave overfit_batches out, or shuffle in neither run",
    step=0,
    quantity="batch",
    cause="order-from-start",
    thread="Lightning-AI/pytorch-lightning#2600",
    reference=by_hand,
)
def overfit_batches(sick: bool) -> None:
    """Let the Trainer put a sequential sampler in the place of the shuffling one."""
    fit(Port(net()), overfit_batches=5 if sick else 0.0)


@case(
    "The validation runs twice an epoch in one of the runs",
    mend="evaluate at the same steps in both runs",
    step=2,
    quantity="loss",
    cause="evaluation-draws",
    reference=by_hand,
)
def val_check_interval(sick: bool) -> None:
    """Start the loader once more, which changes what dropout draws afterwards."""
    fit(Port(net()), val_check_interval=0.5 if sick else 1.0)


@case(
    "The loaders are made anew in each epoch",
    mend="keep them: reload_dataloaders_every_n_epochs=0",
    step=5,
    quantity="batch",
    cause="iterators-draw",
    reference=by_hand,
)
def reload_dataloaders(sick: bool) -> None:
    """Start the reloaded loader once more, which draws."""
    fit(Port(net()), reload_dataloaders_every_n_epochs=1 if sick else 0)


@case(
    "The last, short batch of an epoch is dropped in one run",
    mend="set drop_last alike",
    step=5,
    quantity="batch",
    cause="batch-size",
    reference=lambda sick: fit(Port(net()), train_loader(dataset=samples(42))),
)
def drop_last(sick: bool) -> None:
    """42 samples are 5 batches of 8 and one of 2."""
    train(net(), train_loader(dataset=samples(42), drop_last=sick))


@case(
    "Another batch size",
    mend="set batch_size alike; under DDP it is the size per process",
    step=0,
    quantity="batch",
    cause="batch-size",
    thread="Lightning-AI/pytorch-lightning#3953",
)
def batch_size(sick: bool) -> None:
    """Put more samples into the first batch."""
    train(net(), train_loader(batch_size=10 if sick else 8))


@case(
    "The inputs are scaled in one run only",
    mend="normalize alike",
    step=0,
    quantity="batch",
    cause="transform",
)
def normalization(sick: bool) -> None:
    """Take the same samples as other numbers."""
    (values,) = samples().tensors
    train(net(), train_loader(dataset=TensorDataset(values * 2 if sick else values)))


class Noisy(TensorDataset):
    """Augments each sample with noise as it is fetched."""

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        (x,) = super().__getitem__(index)
        return (x + 0.1 * torch.randn(8),)


def _noisy_by_hand(sick: bool) -> None:
    train(net(), train_loader(dataset=Noisy(*samples().tensors)))


@case(
    "Augmentation in loader workers draws other numbers than in the main process",
    mend="use the same number of workers, or augment on the batch",
    step=0,
    quantity="batch",
    cause="worker-seeds",
    reference=_noisy_by_hand,
)
def worker_augmentation(sick: bool) -> None:
    """Each worker has a random state of its own."""
    data = Noisy(*samples().tensors)
    fit(Port(net()), train_loader(dataset=data, num_workers=1 if sick else 0))


@case(
    "One run trains for more epochs",
    mend="set max_epochs to the number of epochs of the loop",
    step=10,
    quantity="length",
    cause="length",
    reference=by_hand,
)
def max_epochs(sick: bool) -> None:
    """Do the same up to where the shorter run ends."""
    fit(Port(net()), max_epochs=EPOCHS + 1 if sick else EPOCHS)
