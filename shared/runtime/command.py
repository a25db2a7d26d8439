"""What every lesson's command does around its `main`: options, run folder, its end."""

import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_type_hints

import torch
from torch import nn

from shared.data import MNISTData
from shared.datasets.catalog import CLASSES
from shared.options.train import AnyConfig, Parser, option_name
from shared.runtime.errors import UsageError, UserError
from shared.runtime.ranks import explain, is_about_ranks, this_rank
from shared.runtime.run_dir import say_what_is_saved
from shared.runtime.signals import exit_on_signals, ignore_signals


def run(
    half: str,
    lesson: str,
    main: Callable[[AnyConfig, Path], None],
    parse: Callable[[], AnyConfig] | None = None,
    keys: Mapping[str, str] | None = None,
) -> None:
    """Run a lesson from the command line, whose options are those of main's `config`.

    Unless the lesson has a `parse` of its own, which returns them, and names of its own
    for options, `keys`.

    The exit status is 0 after a whole run; 1, or 2 for the command line, with one line
    on stderr when there is something for the user to mend; 130 after Ctrl-C and 143
    after SIGTERM. A run that ends early says what it has saved.
    """
    exit_on_signals()
    with one_line_errors(keys):
        program = f"python -m {half}.{lesson}"
        parse = parse or Parser(program, config_class(main)).parse_config
        config = parse()
        started = int(os.environ.get("WORLD_SIZE", config.world_size))
        if started != config.world_size:  # each would train for itself, or wait
            raise UsageError(
                f"{started} processes were started for a run of {config.world_size};"
                " the lesson distributed takes all, without --devices and --num-nodes"
            )
        torch.set_num_threads(config.threads)
        # Where this is not set, a Trainer with ddp takes all cores for its processes.
        os.environ["OMP_NUM_THREADS"] = str(config.threads)
        run_dir = config.make_run_dir(config.output_dir / half / lesson)
        resumed = run_dir.exists() and any(run_dir.iterdir())
        since = time.time() if resumed else 0
        try:
            main(config, run_dir)
        except BaseException:
            ignore_signals()  # torchrun ends all ranks at once when one is gone
            say_what_is_saved(run_dir, since)
            raise


def config_class(main: Callable[[AnyConfig, Path], None]) -> type[AnyConfig]:
    """Return the dataclass of a lesson's options, from the annotation of its main."""
    return get_type_hints(main)["config"]


@contextmanager
def one_line_errors(keys: Mapping[str, str] | None = None) -> Iterator[None]:
    """End the process with one line where the user has something to mend.

    Args:
        keys: other names that the command line has for fields of the configuration.
    """

    def say(why: str) -> None:
        for name, key in (keys or {}).items():
            why = re.sub(rf"{option_name(name)}\b", f"--{key}", why)
        print(f"error: {this_rank()}" + " ".join(why.split()), file=sys.stderr)

    try:
        yield
    except (UserError, OSError) as error:  # OSError: no access, or a full disk
        say(str(error))
        sys.exit(error.exit_status if isinstance(error, UserError) else 1)
    except RuntimeError as error:  # torch.OutOfMemoryError, and the CPU's
        if is_about_ranks(error):
            why = explain(error)
        elif "allocate" in str(error):
            why = "out of memory: lower --hidden-dim or --batch-size"
        elif "without overflow" in str(error):  # Adam: 10 * 1e38, not within float32
            why = "too large a number for weights of 32 bits: lower --learning-rate,"
            why += " or what else is as large"
        elif type(error).__name__ == "InductorError":  # importing it takes a second
            why = f"torch.compile failed with {str(error).splitlines()[0]}: install a"
            why += " C++ compiler (g++) and Python's headers, or leave out --compile"
        else:
            raise
        say(why)
        sys.exit(1)


def report(
    run_dir: Path, dataset: str, best_val_loss: float | None, test_loss: float
) -> None:
    """Print the end of a run: its losses, and where things are."""
    print(f"data set              {dataset}")
    if best_val_loss is not None:  # None where no best weights were kept
        print(f"best validation loss  {best_val_loss:.6f}")
    print(f"test loss             {test_loss:.6f}")
    if (run_dir / "checkpoints").exists():
        print(f"checkpoints           {run_dir / 'checkpoints'}")
    if run_dir.exists():  # a dry run leaves nothing
        print(f"curves                tensorboard --logdir {run_dir.parents[2]}")
    for trace in sorted(run_dir.glob("*.json")):
        print(f"trace                 {trace}")


def report_epochs(epochs: int, max_epochs: int, reason: str) -> None:
    """Print how many epochs a run has had and, if there were to be more, why no more.

    Args:
        epochs: those it has had.
        max_epochs: those there were to be.
        reason: a name of Lightning's EarlyStoppingReason.
    """
    print(f"epochs                {epochs} of {max_epochs}")
    if epochs < max_epochs:
        print(f"stopped early         {reason.lower().replace('_', ' ')}")


def show_digit(encoder: nn.Module, data: MNISTData) -> None:
    """Print what an encoder makes of the first test image, once data is set up."""
    images, labels = data.test_set.__getitems__([0])
    with torch.no_grad():
        embedding = encoder(images.flatten(1))
    numbers = ", ".join(f"{number:.4f}" for number in embedding[0].tolist())
    print(f"the encoder alone     sees a {labels.item()} as ({numbers})")


def report_classifier(
    paths: Sequence[Path], probabilities: Any, dataset: str, accuracy: float
) -> None:
    """Print what a classifier makes of images, and its accuracy.

    Args:
        paths: of the images.
        probabilities: (1, 10) of float32 for each, of the classes. Any, because
            Trainer.predict does not say what it has gathered.
        dataset: the data set, which has the names of the classes.
        accuracy: the share of the test images whose class it finds.
    """
    for path, classes in zip(paths, probabilities, strict=True):
        likeliest = int(classes.argmax())
        name, probability = CLASSES[dataset][likeliest], classes[0, likeliest]
        print(f"{path!s:20s}  {name} (probability {probability:.4f})")
    print(f"test accuracy         {accuracy:.4f}")


def report_evaluation(
    run_dir: Path, ckpt_path: Path, trained_on: str, dataset: str, test_loss: float
) -> None:
    """Print the end of an evaluation: of which checkpoint, on what, and the files."""
    other = "" if trained_on == dataset else f" (the checkpoint is of {trained_on})"
    print(f"checkpoint            {ckpt_path}")
    print(f"data set              {dataset}{other}")
    print(f"test loss             {test_loss:.6f}")
    print(f"pictures, embeddings  {run_dir}")
    print(f"in TensorBoard        tensorboard --logdir {run_dir.parents[2]}")


def report_cli(
    half: str, subcommand: str, run_dir: Path, losses: Mapping[str, float]
) -> None:
    """Print the end of a run of the lesson cli: its losses, and how to repeat it."""
    for name, loss in losses.items():
        print(f"{name:21} {loss:.6f}")
    stored = run_dir / "config.yaml"
    if stored.exists():  # a dry run leaves nothing
        print(f"results               {run_dir}")
        print(f"the same again        python -m {half}.cli {subcommand} -c {stored}")
