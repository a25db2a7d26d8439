"""The options of a run: a lesson's dataclass is the command line of both halves.

`Config` has what every lesson needs, `TrainConfig` what every training needs; a lesson
with options of its own adds them to one of the two, in shared/options/.
"""

import os
import re
from argparse import ArgumentDefaultsHelpFormatter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from math import inf
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    Generic,
    Literal,
    NoReturn,
    Self,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
)

import docstring_parser
import torch
from jsonargparse import ActionYesNo, ArgumentParser, Namespace
from jsonargparse.typing import restricted_number_type

from shared.runtime.errors import UsageError, UserError
from shared.runtime.run_dir import new_run_dir

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
    """The options of every run, the same for both halves."""

    dataset: Literal["auto", "mnist", "mnist-5k", "fashion-mnist"] = "auto"
    """Images to learn; auto is mnist where it can be had, otherwise mnist-5k."""
    data_dir: Path = field(
        default_factory=lambda: Path(os.environ.get("DATA_DIR", "data"))
    )
    """Folder of the images; the environment's DATA_DIR changes the default."""
    output_dir: Path = Path("output")
    """Folder for runs: each makes a new <half>/<lesson>/version_N in it."""
    batch_size: Count = 64
    """Images a step."""
    seed: Seed = 42
    """Start of every random number: the weights, and the order of the images."""
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; auto is cuda where there is a GPU, otherwise cpu."""
    num_workers: Workers = 0
    """Processes that load images beside the main one; 0 loads in the main one."""
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

    @property
    def world_size(self) -> int:
        """How many processes train together."""
        return 1

    def make_run_dir(self, parent: Path) -> Path:
        """Make and return the folder of a new run."""
        return new_run_dir(parent)

    def with_dataset_of(self, checkpoint: Mapping[str, Any]) -> Self:
        """Return the options with the data set that a checkpoint names, unless given.

        Raises:
            UserError: there is no data set of the name that the checkpoint has.
        """
        if self.dataset != "auto":
            return self
        dataset = checkpoint.get("dataset", "auto")
        known = get_args(get_type_hints(type(self))["dataset"])
        if dataset not in known:
            raise UserError(
                f"the checkpoint is of the data set {dataset}: give another one of"
                f" {', '.join(known[1:])} with --dataset"
            )
        return replace(self, dataset=dataset)

    def to_arguments(self) -> list[str]:
        """Return the command line that gives this configuration."""
        arguments = []
        for name, value in vars(self).items():
            if isinstance(value, bool):
                arguments.append(option_name(name if value else f"no_{name}"))
            elif isinstance(value, list):
                arguments += [option_name(name), *map(str, value)] if value else []
            elif value is not None:
                arguments.append(f"{option_name(name)}={value}")
        return arguments


@dataclass(frozen=True)
class TrainConfig(Config):
    """The options of every training."""

    max_epochs: Count = 3
    """How many times to go through the training images."""
    learning_rate: LearningRate = 1e-3
    """Learning rate of the optimizer: Adam, where a lesson has no other."""
    hidden_dim: Count = 64
    """Width of the model's hidden layers."""
    latent_dim: Count = 3
    """How many numbers the model has to describe an image."""
    limit_train_batches: Count | None = None
    """Train on this many batches an epoch instead of all."""
    limit_val_batches: Count | None = None
    """Validate on this many batches instead of all."""


AnyConfig = TypeVar("AnyConfig", bound=Config)


def option_name(field_name: str) -> str:
    """Return the option of the command line that sets a field."""
    return "--" + field_name.replace("_", "-")


class Parser(ArgumentParser, Generic[AnyConfig]):
    """A command line with an option for every field of a lesson's configuration.

    Args:
        program: what the user calls.
        config_class: the dataclass; a field `x` of type bool is --x or --no-x, and
            one of type list takes several values. A field's metadata are more
            arguments of add_argument.
    """

    def __init__(self, program: str, config_class: type[AnyConfig]) -> None:
        super().__init__(
            prog=program,
            usage="%(prog)s [options]",
            formatter_class=ArgumentDefaultsHelpFormatter,
            allow_abbrev=False,
        )
        self.config_class = config_class
        helps = help_texts(config_class)
        defaults = config_class()
        for option in fields(config_class):
            kind: dict[str, Any] = {"type": option.type}
            if option.type is bool:
                kind = {"action": ActionYesNo(no_prefix="no-")}
            elif get_origin(option.type) is list:
                kind = {"type": get_args(option.type)[0], "nargs": "+"}
            self.add_argument(
                option_name(option.name),
                default=getattr(defaults, option.name),
                help=helps[option.name],
                **kind,
                **option.metadata,
            )

    def parse_config(self, arguments: list[str] | None = None) -> AnyConfig:
        """Return the options of a command line; None takes it from sys.argv.

        Raises:
            UsageError: an unknown option, a bad value, or a GPU that is not there.
        """
        return self.to_config(self.parse_args(arguments))

    def to_config(self, options: Namespace) -> AnyConfig:
        """Return the part of parsed options that belongs to the configuration."""
        names = [option.name for option in fields(self.config_class)]
        return self.config_class(**{name: plain(options[name]) for name in names})

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Say in one line what jsonargparse says in several.

        Raises:
            UsageError: always.
        """
        raise UsageError(f"{reword(message, option_name)} (see --help)") from ex


def help_texts(config_class: type[Config]) -> dict[str, str | None]:
    """Return what the docstring of each field says, by its name."""
    return {
        attribute.arg_name: attribute.description
        for part in reversed(config_class.__mro__[:-1])  # a lesson's own last
        for attribute in docstring_parser.parse_from_object(part).params
    }


def reword(message: str, name: Callable[[str], str] = "--{}".format) -> str:
    """Return one line, with the option's name, of what jsonargparse says of a value."""
    key = re.match(r'Parser key "([\w.]+)"', message)
    if key:
        reason = re.search(r"(?:of type \w+: |Expected a typing\.)(.+)", message)
        given = re.search(r"Given value: (.+)", message)  # of several plain types
        why = reason[1] if reason else f"cannot be {given[1]}" if given else message
        message = f"{name(key[1])}: {why}"
    return message


def plain(value: Any) -> Any:
    """Return a number without the type of its range, which no checkpoint may hold."""
    if isinstance(value, float):
        return float(value)
    return int(value) if isinstance(value, int) and type(value) is not bool else value
