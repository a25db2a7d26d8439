"""The command of a lesson: its options, its folder, and how it ends."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import torch
import tyro

from shared.options.checks import option_name
from shared.options.common import RunConfig
from shared.options.distributed import Config as RanksConfig
from shared.runtime.errors import UserError
from shared.runtime.ranks import (
    check_launch,
    explain,
    is_about_ranks,
    is_rank_0,
    this_rank,
)
from shared.runtime.run_dir import say_what_is_saved
from shared.runtime.signals import exit_on_signals, ignore_signals

AnyConfig = TypeVar("AnyConfig", bound=RunConfig)


def run(main: Callable[[AnyConfig, Path], None]) -> None:
    """Run a lesson's `main(config, run_dir)` with the options of the command line.

    The exit status is 0 after a whole run, 1 after an error, 2 for a wrong command
    line, 130 after Ctrl-C and 143 after SIGTERM. A run that ends early says what it
    has saved.

    Args:
        main: the main function of a module that was started with `python -m`. The
            annotation of its `config` is the dataclass of the options.
    """
    exit_on_signals()
    module = sys.modules[main.__module__]
    assert module.__spec__
    half, lesson = module.__spec__.name.split(".")
    with user_errors():
        config = parse_config(
            config_class(main), f"python -m {half}.{lesson}", module.__doc__
        )
        launcher = ""
        if half == "plain_pytorch" and isinstance(config, RanksConfig):
            launcher = f"{config.torchrun} -m {half}.{lesson}"
        check_launch(config.world_size, launcher)
        set_up_torch(config)
        run_dir = config.make_run_dir(config.output_dir / lesson / half)
        resumed = run_dir.exists() and any(run_dir.iterdir())
        since = time.time() if resumed else 0
        try:
            main(config, run_dir)
        except BaseException:
            ignore_signals()  # torchrun ends all ranks at once when one is gone
            say_what_is_saved(run_dir, since)
            raise
        if is_rank_0() and run_dir.exists():  # a dry run has no folder
            print(f"The run is in {run_dir}")
            print("See its curves: make tensorboard")


def config_class(main: Callable[[AnyConfig, Path], None]) -> type[AnyConfig]:
    """Return the dataclass of a lesson's options, from the annotation of its main."""
    return get_type_hints(main)["config"]


def parse_config(
    config: type[AnyConfig],
    program: str,
    description: str | None = None,
    arguments: list[str] | None = None,
) -> AnyConfig:
    """Return the options of a command line, or end the process with exit status 2.

    Args:
        config: the dataclass of the options; its docstrings are the help.
        program: what the user calls.
        description: the first lines of --help.
        arguments: the command line; None takes that of this process.
    """
    return tyro.cli(config, prog=program, description=description, args=arguments)


def to_arguments(config: RunConfig) -> list[str]:
    """Return the command line that gives this configuration."""
    arguments = []
    for name, value in vars(config).items():
        if isinstance(value, bool):
            arguments.append(option_name(name if value else f"no_{name}"))
        elif isinstance(value, list):
            arguments += [option_name(name), *map(str, value)]
        else:
            arguments.append(f"{option_name(name)}={value}")
    return arguments


def set_up_torch(config: RunConfig) -> None:
    """Set what makes two runs on the same machine equal to the last bit."""
    torch.set_num_threads(config.threads)
    # Processes that a Trainer starts would take all cores otherwise.
    os.environ["OMP_NUM_THREADS"] = str(config.threads)
    if config.use_cuda:
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
        torch.use_deterministic_algorithms(True)


@contextmanager
def user_errors() -> Iterator[None]:
    """End the process with a message, and no traceback, where the user can help."""

    def end(why: Any, exit_status: int) -> None:
        print(f"error: {this_rank()}{why}", file=sys.stderr)
        sys.exit(exit_status)

    try:
        yield
    except UserError as error:
        end(error, error.exit_status)
    except OSError as error:  # no access, or a full disk
        end(error, 1)
    except RuntimeError as error:
        if not is_about_ranks(error):
            raise
        end(explain(error), 1)
    except SystemExit as error:
        if error.code is None:  # a Trainer's SIGTERMException: it would end with 0
            sys.exit(128 + signal.SIGTERM)
        raise
