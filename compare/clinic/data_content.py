# ruff: noqa: D401 (a case's docstring is its title)
"""Cases in which the batches hold something else."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, Subset

from compare.clinic.case import case
from compare.clinic.parts import TRAIN, in_order, network, sgd, step, train_epoch


@case(
    step=0,
    quantity="batch",
    cause="batch-size",
    mend="Keep the batch a step sees: batch size times devices times accumulation.",
    thread="https://github.com/Lightning-AI/pytorch-lightning/issues/3953",
)
def batch_size_changed(mistake: bool) -> None:
    """The batch is half as large, as on each of two devices."""
    model = network(norm=True)
    loader = DataLoader(TRAIN, batch_size=2 if mistake else 4)
    train_epoch(model, sgd(model), loader)


@case(
    step=5,
    quantity="batch",
    cause="drop-last",
    mend="Use the same drop_last for both loaders.",
)
def last_batch_dropped(mistake: bool) -> None:
    """The last batch of an epoch is smaller, and one run drops it."""
    model = network()
    data = Subset(TRAIN, range(22))
    loader = DataLoader(data, batch_size=4, drop_last=mistake)
    optimizer = sgd(model)
    for _ in range(2):
        train_epoch(model, optimizer, loader)


@case(
    step=0,
    quantity="batch",
    cause="scaled-input",
    mend="Normalize in both runs, with the same mean and deviation.",
)
def normalization_forgotten(mistake: bool) -> None:
    """The inputs are not normalized."""
    model = network()
    optimizer = sgd(model)
    for inputs, targets in in_order():
        shown = inputs if mistake else (inputs - 0.1307) / 0.3081
        step(model, optimizer, shown, targets)


class Augmented(Dataset[tuple[Tensor, Tensor]]):
    """Training data with noise, drawn wherever a sample is fetched."""

    def __len__(self) -> int:
        return len(TRAIN)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        inputs, target = TRAIN[index]
        return inputs + 0.01 * torch.randn(6), target


@case(
    step=0,
    quantity="batch",
    cause="augmentation",
    mend="Seed each sample's augmentation by its index and the epoch.",
)
def augmentation_in_workers(mistake: bool) -> None:
    """Noise is drawn in the loader's workers, and their number differs."""
    model = network()
    loader = DataLoader(Augmented(), batch_size=4, num_workers=1 if mistake else 0)
    train_epoch(model, sgd(model), loader)


@case(
    step=0,
    quantity="loss",
    cause="other-target",
    mend="Print the targets of the first batch in both runs.",
)
def targets_shifted(mistake: bool) -> None:
    """The labels are counted from one in one run, and wrap around."""
    model = network()
    optimizer = sgd(model)
    for inputs, targets in in_order():
        step(model, optimizer, inputs, (targets + 1) % 3 if mistake else targets)


@case(
    step=0,
    quantity="batch",
    cause="preprocessing",
    mend="Read the same files in both runs.",
)
def other_data_set(mistake: bool) -> None:
    """One run trains on other data."""
    model = network()
    optimizer = sgd(model)
    for inputs, targets in in_order():
        step(model, optimizer, inputs.square() + 1 if mistake else inputs, targets)


@case(
    step=0,
    quantity="batch",
    cause="sequence-length",
    mend="Cut each sequence in the loop: Lightning 2 ignores truncated_bptt_steps.",
)
def sequence_not_cut(mistake: bool) -> None:
    """Backpropagation through time is not truncated: the sequence stays whole."""
    torch.manual_seed(0)
    model = nn.GRU(2, 3, batch_first=True)
    optimizer = sgd(model)
    for inputs, _ in in_order():
        whole = inputs.view(4, 3, 2)
        for piece in [whole] if mistake else whole.split(1, dim=1):
            optimizer.zero_grad()
            model(piece)[0].square().mean().backward()
            optimizer.step()


@case(
    step=0,
    quantity="batch",
    cause="input-size",
    mend="Crop or resize to the same size.",
)
def input_resized(mistake: bool) -> None:
    """The pictures have another size."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    optimizer = sgd(model)
    for inputs, targets in in_order():
        pictures = inputs.view(4, 1, 2, 3)
        step(model, optimizer, pictures[..., :2] if mistake else pictures, targets % 2)


@case(
    step=0,
    quantity="batch",
    cause="other-dtype",
    mend="Give the model the same dtype.",
)
def input_in_another_dtype(mistake: bool) -> None:
    """The inputs are 32-bit integers in one run, and 64-bit in the other."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(3, 3), nn.Flatten(0, 1))
    optimizer = sgd(model)
    for _, targets in in_order():
        inputs = targets[:, None]
        step(model, optimizer, inputs.int() if mistake else inputs, targets)


@case(
    step=0,
    quantity="batch",
    cause="one-call-against-several",
    mend="Call the model once for each view.",
)
def views_joined(mistake: bool) -> None:
    """Two views go through the model in one call, and BatchNorm takes them together."""
    model = network(norm=True)
    optimizer = sgd(model)
    for inputs, _ in in_order():
        one, other = inputs, inputs + 1
        if mistake:
            first, second = model(torch.cat([one, other])).chunk(2)
        else:
            first, second = model(one), model(other)
        optimizer.zero_grad()
        F.mse_loss(first, second).backward()
        optimizer.step()


@case(
    step=1,
    quantity="loss",
    cause="state-carried",
    mend="Carry the hidden state from piece to piece in both runs, detached.",
)
def state_not_carried(mistake: bool) -> None:
    """The hidden state of a sequence's piece is not given to the next."""
    torch.manual_seed(0)
    model = nn.GRU(6, 3)
    optimizer = sgd(model)
    hidden = None
    for inputs, _ in in_order():
        optimizer.zero_grad()
        outputs, hidden = model(inputs, None if mistake else hidden)
        outputs.square().mean().backward()
        optimizer.step()
        hidden = hidden.detach()


class Pair(nn.Module):
    """Rates a user and an item."""

    def __init__(self) -> None:
        super().__init__()
        self.user, self.item = nn.Linear(6, 2), nn.Linear(6, 2)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        """Return a number for each row."""
        return (self.user(user) * self.item(item)).sum(1)


@case(
    step=0,
    quantity="batch",
    cause="rows-apart",
    mend="Shuffle users and items with one permutation.",
)
def inputs_shuffled_apart(mistake: bool) -> None:
    """The rows of two inputs no longer belong together."""
    torch.manual_seed(0)
    model = Pair()
    optimizer = sgd(model)
    for inputs, _ in in_order():
        item = inputs.roll(1, 1)
        optimizer.zero_grad()
        model(inputs, item.flip(0) if mistake else item).square().mean().backward()
        optimizer.step()


class Told(Dataset[tuple[Tensor, Tensor]]):
    """Training data whose noise depends on the epoch it is told."""

    def __init__(self) -> None:
        self.epoch = 0

    def __len__(self) -> int:
        return len(TRAIN)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        inputs, target = TRAIN[index]
        numbers = torch.Generator().manual_seed(100 * self.epoch + index)
        return inputs + 0.1 * torch.randn(6, generator=numbers), target


@case(
    step=6,
    quantity="batch",
    cause="epoch-kept-by-workers",
    mend="Leave persistent_workers out: new workers get the data set as it is now.",
)
def workers_keep_the_epoch(mistake: bool) -> None:
    """Persistent workers keep the data set of the first epoch."""
    model = network()
    optimizer = sgd(model)
    data = Told()
    loader = DataLoader(data, 4, num_workers=1, persistent_workers=mistake)
    for data.epoch in range(2):
        train_epoch(model, optimizer, loader)


@case(
    step=0,
    quantity="batch",
    cause="last-bits",
    mend="Normalize in one order: subtract, then divide.",
)
def normalized_otherwise(mistake: bool) -> None:
    """The inputs are normalized by the same numbers, and rounded in another order."""
    model = network()
    optimizer = sgd(model)
    for inputs, targets in in_order():
        shown = inputs / 0.3 - 0.1 / 0.3 if mistake else (inputs - 0.1) / 0.3
        step(model, optimizer, shown, targets)


@case(
    step=2,
    quantity="loss",
    cause="unseen-batch",
    mend="Record without torch.compile to see the batch.",
)
def batch_unseen(mistake: bool) -> None:
    """The model is called inside a compiled function, and a batch differs unseen."""
    model = network()
    optimizer = sgd(model)
    compiled = torch.compile(lambda x, y: F.cross_entropy(model(x), y), backend="eager")
    for number, (inputs, targets) in enumerate(in_order()):
        optimizer.zero_grad()
        scale = 1.5 if mistake and number == 2 else 1.0
        compiled(inputs * scale, targets).backward()
        optimizer.step()
