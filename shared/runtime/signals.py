"""Ctrl-C and SIGTERM end a run with the exit status that shells know: 130 and 143."""

import os
import signal
import sys
import time
from types import FrameType

waiting: list[int] = []
"""The signals that are to end this process."""

held_at: list[float] = []
"""When the first of them came, if it is held."""


def exit_on_signals() -> None:
    """Let Ctrl-C and SIGTERM raise SystemExit, for whoever has something to close.

    Not a KeyboardInterrupt, which a Trainer turns into exit status 1; it turns SIGTERM
    into 0.
    """
    signal.signal(signal.SIGINT, exit_on_signal)
    signal.signal(signal.SIGTERM, exit_on_signal)
    signal.signal(signal.SIGALRM, exit_on_signal)  # a second try, see there


def hold_signals() -> None:
    """Let a first Ctrl-C or SIGTERM wait for `exit_if_signalled`.

    A second one ends the run at once.
    """
    signal.signal(signal.SIGINT, hold_signal)
    signal.signal(signal.SIGTERM, hold_signal)


def release_signals() -> None:
    """End what `hold_signals` began, and the run, if a signal came in the meantime."""
    exit_on_signals()
    exit_if_signalled()


def signalled() -> int:
    """Return the number of the held signal that waits, otherwise 0."""
    return waiting[0] if waiting else 0


def exit_if_signalled() -> None:
    """End the run if a held signal waits."""
    if waiting:
        exit_on_signal(waiting[0], None)


def hold_signal(signal_number: int, frame: FrameType | None) -> None:
    """Note a first signal, and say so.

    One more within a second is the same: torchrun hands on what the shell has sent to
    all processes already.
    """
    if not waiting:
        waiting.append(signal_number)
        held_at.append(time.monotonic())
        os.write(2, b"\nending after this step; once more ends at once\n")
    elif time.monotonic() - held_at[0] > 1:
        exit_on_signal(signal_number, frame)


def exit_on_signal(signal_number: int, frame: FrameType | None) -> None:
    """End the process with the status by which a shell knows this signal."""
    # From here on the end of a DataLoader's workers is no error.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if signal_number != signal.SIGALRM:
        waiting.append(signal_number)
    if is_fragile(frame):  # try again in a moment
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        return
    signal.setitimer(signal.ITIMER_REAL, 0)
    ignore_signals()
    sys.exit(128 + waiting[0])


def ignore_signals() -> None:
    """Let no signal cut short what is to be said at the end of this process."""
    signal.signal(signal.SIGINT, do_nothing)
    signal.signal(signal.SIGTERM, do_nothing)


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
