"""The options of every run: this dataclass is the command line of both halves."""

import os
import re
from argparse import ArgumentDefaultsHelpFormatter
from dataclasses import dataclass, field, fields
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NoReturn

import docstring_parser
import torch
from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import restricted_number_type

from shared.errors import UsageError

if TYPE_CHECKING:  # to a type checker, a number within a range is a number
    Count = int
    Threads = int
    Workers = int
    Seed = int
    LearningRate = float
else:
    Count = restricted_number_type("Count", int, [(">", 0), ("<", 2**31)])
    Threads = restricted_number_type("Threads", int, [(">", 0), ("<=", 1024)])
    Workers = restricted_number_type("Workers", int, [(">=", 0), ("<=", 1024)])
    Seed = restricted_number_type("Seed", int, [(">=", 0), ("<", 2**32)])
    LearningRate = restricted_number_type("LearningRate", float, [(">", 0), ("<", inf)])

LOG_EVERY_N_STEPS = 10
"""Steps from one point of the train_loss curve to the next."""


@dataclass(frozen=True)
class Config:
    """The options of a run, the same for both halves."""

    dataset: Literal["auto", "mnist", "mnist-5k", "fashion-mnist"] = "auto"
    """Images to learn; auto is mnist where it can be had, otherwise mnist-5k."""
    data_dir: Path = field(
        default_factory=lambda: Path(os.environ.get("DATA_DIR", "data"))
    )
    """Folder of the images; the environment's DATA_DIR changes the default."""
    output_dir: Path = Path("output")
    """Folder for runs: each makes a new <half>/<lesson>/version_N in it."""
    max_epochs: Count = 3
    """How many times to go through the training images."""
    batch_size: Count = 64
    """Images a step."""
    learning_rate: LearningRate = 1e-3
    """Adam's learning rate."""
    hidden_dim: Count = 64
    """Width of the model's hidden layers."""
    latent_dim: Count = 3
    """How many numbers the model has to describe an image."""
    seed: Seed = 42
    """Start of every random number: the weights, and the order of the images."""
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; auto is cuda where there is a GPU, otherwise cpu."""
    num_workers: Workers = 0
    """Processes that load images beside the training; 0 loads in the training's own."""
    limit_train_batches: Count | None = None
    """Train on this many batches an epoch instead of all."""
    limit_val_batches: Count | None = None
    """Validate on this many batches instead of all."""
    limit_test_batches: Count | None = None
    """Test on this many batches instead of all."""
    threads: Threads = 1
    """Threads of the CPU to compute with: another number can change the last bits."""

    def __post_init__(self) -> None:
        if self.use_cuda and not torch.cuda.is_available():
            raise UsageError("--accelerator cuda: torch finds no GPU; try auto or cpu")

    @property
    def use_cuda(self) -> bool:
        """Whether this run computes on a GPU."""
        if self.accelerator == "auto":
            return torch.cuda.is_available()
        return self.accelerator == "cuda"


class Parser(ArgumentParser):
    """A command line with an option for every field of Config."""

    def __init__(self, program: str) -> None:
        super().__init__(
            prog=program,
            usage="%(prog)s [options]",
            formatter_class=ArgumentDefaultsHelpFormatter,
            allow_abbrev=False,
        )
        attributes = docstring_parser.parse_from_object(Config).params
        helps = {attribute.arg_name: attribute.description for attribute in attributes}
        defaults = Config()
        for option in fields(Config):
            self.add_argument(
                "--" + option.name.replace("_", "-"),
                type=option.type,
                default=getattr(defaults, option.name),
                help=helps[option.name],
            )

    def parse_config(self, arguments: list[str] | None = None) -> Config:
        """Return the options of a command line; None takes it from sys.argv.

        Raises:
            UsageError: an unknown option, a bad value, or a GPU that is not there.
        """
        return self.to_config(self.parse_args(arguments))

    def to_config(self, options: Namespace) -> Config:
        """Return the part of parsed options that every run has."""
        values = {option.name: options[option.name] for option in fields(Config)}
        for name, value in values.items():
            # A number with a range has a type of its own, which no checkpoint may hold.
            if isinstance(value, int | float):
                values[name] = float(value) if isinstance(value, float) else int(value)
        return Config(**values)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Say in one line what jsonargparse says in several.

        Raises:
            UsageError: always.
        """
        key = re.match(r'Parser key "(\w+)"', message)
        if key:
            reason = re.search(r"(?:of type \w+: |Expected a typing\.)(.+)", message)
            option = "--" + key[1].replace("_", "-")
            message = f"{option}: {reason[1] if reason else message}"
        raise UsageError(f"{message} (see --help)") from ex
