"""Loops in the style of many frameworks, rebuilt small, are the same as themselves.

Each is also compared with a copy that makes one mistake, so that "the same" means that
something was seen.
"""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from compare.divergence.difference import compare_runs
from compare.trace.command import trace
from compare.trace.run import Run


def loader(size: int = 4) -> DataLoader[tuple[Tensor, ...]]:
    numbers = torch.Generator().manual_seed(3)
    x = torch.randn(16, 4, generator=numbers)
    data = TensorDataset(x, (x.sum(1) > 0).long())
    return DataLoader(data, size, generator=torch.Generator())


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 2))


def fabric(lr: float) -> None:
    """Lightning Fabric, whose own loop it is not."""
    run = Fabric(accelerator="cpu", devices=1)
    net = network()
    model, optimizer = run.setup(net, torch.optim.SGD(net.parameters(), lr))
    for x, y in run.setup_dataloaders(loader()):
        optimizer.zero_grad()
        run.backward(F.cross_entropy(model(x), y))
        optimizer.step()


class Wrapped:
    """An optimizer that is none: it hands all on, as those of Accelerate do."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer, self.synchronizes = optimizer, True

    def step(self) -> None:
        if self.synchronizes:
            self.optimizer.step()

    def zero_grad(self) -> None:
        if self.synchronizes:
            self.optimizer.zero_grad()


def accelerate_like(lr: float) -> None:
    """Steps are skipped while gradients are accumulated."""
    net = network()
    optimizer = Wrapped(torch.optim.AdamW(net.parameters(), lr))
    for number, (x, y) in enumerate(loader(2)):
        optimizer.synchronizes = number % 2 == 1
        (F.cross_entropy(net(x), y) / 2).backward()
        optimizer.step()
        optimizer.zero_grad()


def ignite_like(lr: float) -> None:
    """An engine with handlers, and an evaluator that it calls after each epoch."""
    net, loss = network(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(net.parameters(), lr, momentum=0.9)
    handlers: dict[str, list[Callable[[], Any]]] = {"iteration": [], "epoch": []}

    @torch.no_grad()
    def evaluate() -> None:
        net.eval()
        for x, _ in loader():
            net(x)
        net.train()

    handlers["epoch"].append(evaluate)
    for _ in range(2):
        for x, y in loader():
            optimizer.zero_grad()
            loss(net(x), y).backward()
            optimizer.step()
        for handler in handlers["epoch"]:
            handler()


def skorch_like(lr: float) -> None:
    """The whole step is a closure, which the optimizer calls."""
    net = network()
    optimizer = torch.optim.Adam(net.parameters(), lr)
    for x, y in loader():

        def step(x: Tensor = x, y: Tensor = y) -> Tensor:
            optimizer.zero_grad()
            loss = F.nll_loss(net(x).log_softmax(-1), y)
            loss.backward()
            return loss

        optimizer.step(step)


class Language(nn.Module):
    """Called by keyword, it returns a dict with the loss inside, as transformers do."""

    def __init__(self) -> None:
        super().__init__()
        self.token, self.head = nn.Embedding(9, 4), nn.Linear(4, 9, bias=False)
        self.head.weight = self.token.weight

    def forward(self, input_ids: Tensor, labels: Tensor | None = None) -> Any:
        logits = self.head(self.token(input_ids))
        loss = None if labels is None else F.cross_entropy(logits[:-1], labels[1:])
        return {"loss": loss, "logits": logits}


def hf_like(lr: float) -> None:
    """Groups with and without decay, a warm-up, accumulated and clipped gradients."""
    net = Language()
    optimizer = torch.optim.AdamW(
        [{"params": net.parameters(), "weight_decay": 0.1}], lr
    )
    warm_up = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda n: min(1, (n + 1) / 3)
    )
    for _, y in loader():
        for _ in range(2):
            (net(input_ids=y, labels=y)["loss"] / 2).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        warm_up.step()
        optimizer.zero_grad()


def timm_like(lr: float) -> None:
    """An average of the weights is kept and evaluated."""
    net = network()
    average = copy.deepcopy(net).eval()
    optimizer = torch.optim.SGD(net.parameters(), lr, nesterov=True, momentum=0.9)
    for x, y in loader():
        optimizer.zero_grad()
        F.cross_entropy(net(x), y, label_smoothing=0.1).backward()
        optimizer.step()
        with torch.no_grad():
            for old, new in zip(average.parameters(), net.parameters(), strict=True):
                old.lerp_(new, 0.1)
            average(x)


def gan(lr: float) -> None:
    """A critic with a gradient penalty, and a generator; one loss through both."""
    generator, critic = nn.Linear(2, 4), nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 1))
    optimizers = [torch.optim.Adam(m.parameters(), lr) for m in (critic, generator)]
    for real, _ in loader():
        fake = generator(torch.randn(len(real), 2))
        mixed = (real + fake.detach()).requires_grad_()
        (slope,) = torch.autograd.grad(critic(mixed).sum(), mixed, create_graph=True)
        optimizers[0].zero_grad()
        loss = critic(fake.detach()).mean() - critic(real).mean()
        (loss + (slope.norm(dim=1) - 1).square().mean()).backward()
        optimizers[0].step()
        optimizers[1].zero_grad()
        (-critic(fake).mean()).backward()
        optimizers[1].step()


def actor_critic(lr: float) -> None:
    """Two optimizers, a target network, and a replayed buffer."""
    actor, critic = nn.Linear(4, 1), nn.Linear(5, 1)
    target = copy.deepcopy(critic)
    optimizers = [torch.optim.Adam(m.parameters(), lr) for m in (critic, actor)]
    for state, y in loader():
        with torch.no_grad():
            goal = y[:, None] + 0.9 * target(torch.cat([state, actor(state)], 1))
        value = critic(torch.cat([state, torch.randn(len(state), 1)], 1))
        optimizers[0].zero_grad()
        F.mse_loss(value, goal).backward()
        optimizers[0].step()
        optimizers[1].zero_grad()
        (-critic(torch.cat([state, actor(state)], 1)).mean()).backward()
        optimizers[1].step()
        for old, new in zip(target.parameters(), critic.parameters(), strict=True):
            old.data.lerp_(new.data, 0.1)


def lbfgs(lr: float) -> None:
    """A whole data set, and many evaluations a step."""
    net = nn.Linear(4, 2)
    optimizer = torch.optim.LBFGS(net.parameters(), lr, line_search_fn="strong_wolfe")
    x, y = next(iter(loader(16)))

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        return loss

    for _ in range(2):
        optimizer.step(closure)


def recurrent(lr: float) -> None:
    """A cell that the loop calls for each moment, with truncated backpropagation."""
    cell, head = nn.GRUCell(4, 3), nn.Linear(3, 1)
    optimizer = torch.optim.RMSprop([*cell.parameters(), *head.parameters()], lr)
    hidden = torch.zeros(4, 3)
    for x, _ in loader():
        loss = torch.zeros(())
        for _ in range(3):
            hidden = cell(x, hidden)
            loss = loss + head(hidden).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        hidden = hidden.detach()


def scaled(lr: float) -> None:
    """Mixed precision with a scaler."""
    net = network()
    optimizer = torch.optim.SGD(net.parameters(), lr)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    for x, y in loader():
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss = F.cross_entropy(net(x), y)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        scaler.step(optimizer)
        scaler.update()


LOOPS = [fabric, accelerate_like, ignite_like, skorch_like, hf_like, timm_like, gan]
LOOPS += [actor_critic, lbfgs, recurrent, scaled]


@pytest.fixture(params=LOOPS, ids=lambda loop: loop.__name__)
def loop(request: pytest.FixtureRequest) -> Callable[[float], None]:
    chosen: Callable[[float], None] = request.param
    return chosen


def recorded(loop: Callable[[float], None], lr: float) -> Run:
    torch.manual_seed(0)
    with trace() as run:
        loop(lr)
    assert run.unseen == []
    return run


def test_a_loop_is_the_same_as_itself(loop: Callable[[float], None]) -> None:
    run = recorded(loop, 0.01)
    assert len(run.steps) >= 2
    assert all(step.batch for step in run.steps)
    assert compare_runs(run, recorded(loop, 0.01)).first is None
    first = compare_runs(run, recorded(loop, 0.02)).first
    assert first is not None
    assert (first.step, first.quantity) in ((0, "learning rate"), (0, "loss"))
