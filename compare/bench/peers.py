"""The same step in other frameworks, without logging, progress bar and checkpoints.

Their packages are optional: requirements-peers.txt. What is missing is left out.
"""

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

import plain_pytorch.train
from compare.bench.halves import build, load
from compare.bench.ladder import ARITHMETIC, BAREBONES, arithmetic, barebones
from compare.bench.report import compared
from compare.bench.turns import same_as_first, time_trainings
from shared.data import Batch
from shared.options.train import Config as TrainConfig


def fabric(model: Any, config: TrainConfig, loader: Any) -> None:
    """Train with a loop by hand, and Lightning Fabric."""
    from lightning_fabric import Fabric

    fabric = Fabric(accelerator="cuda" if config.use_cuda else "cpu", devices=1)
    loader = fabric.setup_dataloaders(loader)
    model, optimizer = fabric.setup(model, model.configure_optimizers())
    for batch_idx, batch in enumerate(loader):
        loss = model.training_step(batch, batch_idx)
        optimizer.zero_grad()
        fabric.backward(loss)
        optimizer.step()


def accelerate(model: Any, config: TrainConfig, loader: Any) -> None:
    """Train with a loop by hand, and Accelerate."""
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=not config.use_cuda)
    model, optimizer, loader = accelerator.prepare(
        model, model.configure_optimizers(), loader
    )
    for batch_idx, batch in enumerate(loader):
        loss = model.training_step(batch, batch_idx)
        optimizer.zero_grad()
        accelerator.backward(loss)
        optimizer.step()


def ignite(model: Any, config: TrainConfig, loader: Any) -> None:
    """Train with an Engine of PyTorch Ignite."""
    from ignite.engine import Engine

    if config.use_cuda:
        model.cuda()
    optimizer = model.configure_optimizers()

    def step(engine: Engine, batch: Batch) -> None:
        if config.use_cuda:
            batch = [tensor.cuda() for tensor in batch]
        loss = model.training_step(batch, engine.state.iteration - 1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    Engine(step).run(loader)


def skorch(model: Any, config: TrainConfig, loader: Any) -> None:
    """Train with a NeuralNet of skorch."""
    from skorch import NeuralNet

    class Net(NeuralNet):
        """A net whose output is the loss of the model."""

        def get_iterator(self, dataset: Any, training: bool = False) -> Any:
            return loader

        def infer(self, x: Tensor, **_: Any) -> Tensor:
            return self.module_.reconstruction_loss(x.to(self.device))

        def get_loss(self, y_pred: Tensor, *_: Any, **__: Any) -> Tensor:
            return y_pred

    net = Net(
        model,
        torch.nn.MSELoss,
        optimizer=torch.optim.Adam,
        lr=config.learning_rate,
        max_epochs=1,
        train_split=None,
        callbacks="disable",
        device="cuda" if config.use_cuda else "cpu",
    )
    net.fit(loader.dataset)


def hf_trainer(model: Any, config: TrainConfig, loader: Any) -> None:
    """Train with the Trainer of Hugging Face."""
    import transformers

    class Trainer(transformers.Trainer):
        """A Trainer that takes our batches and our loss."""

        def get_train_dataloader(self) -> Any:
            return loader

        def compute_loss(self, model: Any, inputs: Any, *_: Any, **__: Any) -> Tensor:
            return model.training_step(inputs, 0)

    with TemporaryDirectory() as folder:
        options = transformers.TrainingArguments(
            folder,
            num_train_epochs=1,
            per_device_train_batch_size=config.batch_size,
            max_grad_norm=0,  # its default clips the gradient
            logging_strategy="no",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=not config.use_cuda,
        )
        optimizer = model.configure_optimizers()
        constant = torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1)
        Trainer(model, options, optimizers=(optimizer, constant)).train()


Peer = Callable[[Any, TrainConfig, Any], None]
PEERS: dict[str, tuple[str, Peer]] = {
    "Ignite": ("ignite", ignite),
    "Fabric": ("lightning_fabric", fabric),
    "skorch": ("skorch", skorch),
    "Accelerate": ("accelerate", accelerate),
    "Hugging Face Trainer": ("transformers", hf_trainer),
}
"""The module of each peer, and the function that trains a new model with it."""
PACKAGES = ("accelerate", "pytorch-ignite", "skorch", "transformers")


def train(peer: Peer, config: TrainConfig, data: Any) -> Any:
    """Train a new model, and return it."""
    model = build(plain_pytorch.train.Model, config)
    peer(model, config, data.train_dataloader())
    return model


def measure(config: TrainConfig, rounds: int) -> dict[str, Any]:
    """Return the seconds of a step with each peer that is installed."""
    data = load(config)
    found = {
        name: partial(train, peer, config, data)
        for name, (module, peer) in PEERS.items()
        if find_spec(module)
    }
    trainings: dict[str, Callable[[], Any]] = {
        ARITHMETIC: lambda: arithmetic(config, data.train_dataloader()),
        **found,
        BAREBONES: partial(barebones, config, data),
    }
    seconds, weights = time_trainings(trainings, rounds, config.use_cuda)
    return {
        "seconds": seconds,
        "same": same_as_first(weights),
        "left_out": [name for name in PEERS if name not in found],
    }


def report(results: dict[str, Any], form: str) -> str:
    """Return a table, and the names of what is missing in it."""
    text = compared(results, "one step", "times the arithmetic", form)
    if results["left_out"]:
        text += f"\n\nNot installed, so left out: {', '.join(results['left_out'])}."
    return text
