"""What every lesson's command does around its `main`: options, run folder, its end."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from types import FrameType

import torch

from shared.config import Config, Parser
from shared.errors import UserError

waiting: list[int] = []
"""The signals that are to end this process."""


def run(half: str, lesson: str, main: Callable[[Config, Path], None]) -> None:
    """Run a lesson from the command line.

    The exit status is 0 after a whole run; 1, or 2 for the command line, with one line
    on stderr when there is something for the user to mend; 130 after Ctrl-C and 143
    after SIGTERM. A run that ends early says what it has saved.
    """
    # An exit, not a KeyboardInterrupt, which a Trainer turns into exit status 1; and
    # SIGTERM, which it turns into 0.
    signal.signal(signal.SIGINT, exit_on_signal)
    signal.signal(signal.SIGTERM, exit_on_signal)
    signal.signal(signal.SIGALRM, exit_on_signal)  # a second try, see there
    with one_line_errors():
        config = Parser(f"python -m {half}.{lesson}").parse_config()
        torch.set_num_threads(config.threads)
        run_dir = new_run_dir(config.output_dir / half / lesson)
        try:
            main(config, run_dir)
        except BaseException:
            say_what_is_saved(run_dir)
            raise


@contextmanager
def one_line_errors() -> Iterator[None]:
    """End the process with one line where the user has something to mend."""
    try:
        yield
    except (UserError, OSError) as error:  # OSError: no access, or a full disk
        print("error:", " ".join(str(error).split()), file=sys.stderr)
        sys.exit(error.exit_status if isinstance(error, UserError) else 1)
    except RuntimeError as error:  # torch.OutOfMemoryError, and the CPU's
        if "allocate" not in str(error):
            raise
        print(
            "error: out of memory: lower --hidden-dim or --batch-size", file=sys.stderr
        )
        sys.exit(1)


def exit_on_signal(signal_number: int, frame: FrameType | None) -> None:
    """End the process with the status by which a shell knows this signal."""
    # From here on the end of a DataLoader's workers is no error.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if signal_number != signal.SIGALRM:
        waiting.append(signal_number)
    if is_fragile(frame):  # try again in a moment
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        return
    # What is to be said and closed comes next: further signals would cut it short.
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGINT, do_nothing)
    signal.signal(signal.SIGTERM, do_nothing)
    sys.exit(128 + waiting[0])


def do_nothing(_signal_number: int, _frame: FrameType | None) -> None:
    """Take a signal. SIG_IGN would let Python complain of one that is under way."""


def is_fragile(frame: FrameType | None) -> bool:
    """Return whether an exception raised here would be lost, or leave a lock behind.

    So it is in __del__, in logging and threading, and while workers start or stop.
    """
    while frame:
        name, module = frame.f_code.co_name, frame.f_globals.get("__name__", "")
        if name in ("__del__", "_shutdown_workers") or module in (
            "logging",
            "threading",
        ):
            return True
        if name == "__init__" and module == "torch.utils.data.dataloader":
            return True
        frame = frame.f_back
    return False


def new_run_dir(parent: Path) -> Path:
    """Make and return the first folder `version_N` that is not there yet.

    Raises:
        OSError: the folder cannot be made.
    """
    parent.mkdir(parents=True, exist_ok=True)
    for number in count():
        run_dir = parent / f"version_{number}"
        try:
            run_dir.mkdir()  # two runs that start at once cannot both make it
        except FileExistsError:
            continue
        return run_dir
    raise AssertionError("count() does not end")


def say_what_is_saved(run_dir: Path) -> None:
    """Say on stderr which checkpoints a run leaves; remove its folders if empty.

    The line begins anew, below a progress bar that may stand there.
    """
    checkpoints = sorted(run_dir.glob("checkpoints/*.ckpt"))
    if checkpoints:
        print("\nsaved so far:", *checkpoints, file=sys.stderr)
    elif any(run_dir.iterdir()):
        print("\nno checkpoint saved yet; logs are in", run_dir, file=sys.stderr)
    else:
        for folder in (run_dir, run_dir.parent, run_dir.parents[1]):
            if not any(folder.iterdir()):
                folder.rmdir()


def report(run_dir: Path, dataset: str, best_val_loss: float, test_loss: float) -> None:
    """Print the end of a run: its losses, and where things are."""
    print(f"data set              {dataset}")
    print(f"best validation loss  {best_val_loss:.6f}")
    print(f"test loss             {test_loss:.6f}")
    print(f"checkpoints           {run_dir / 'checkpoints'}")
    print(f"curves                tensorboard --logdir {run_dir.parents[2]}")
