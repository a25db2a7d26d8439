"""Ctrl-C and SIGTERM end a run with the exit status that shells know: 130 and 143."""

import atexit
import multiprocessing
import os
import signal
import sys
import time
from types import FrameType
from typing import Any

held: list[tuple[int, float]] = []
"""The signal that waits for the end of a step, and when it came; empty if none does."""


def exit_on_signals() -> None:
    """Let Ctrl-C and SIGTERM raise SystemExit.

    Not KeyboardInterrupt: a Trainer turns that into exit status 1, and SIGTERM into 0.
    """
    signal.signal(signal.SIGINT, exit_on_signal)
    signal.signal(signal.SIGTERM, exit_on_signal)


def exit_on_signal(signal_number: int, _frame: FrameType | None = None) -> None:
    """End the process with the status by which a shell knows this signal."""
    sys.unraisablehook = exit_again
    # The workers of a DataLoader end, too; torch would call that an error.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    atexit.register(kill_workers)
    sys.exit(128 + signal_number)


def kill_workers() -> None:
    """Kill the workers of a DataLoader that a signal interrupted while it started them.

    They ignore SIGTERM, so Python would wait for them forever.
    """
    for worker in multiprocessing.active_children():
        worker.kill()


def exit_again(lost: Any) -> None:
    """Raise a SystemExit again that came inside __del__, where Python drops it.

    A DataLoader waits for its workers there.
    """
    if isinstance(lost.exc_value, SystemExit):
        status = lost.exc_value.code
        signal.signal(signal.SIGALRM, lambda *_: sys.exit(status))
        signal.setitimer(signal.ITIMER_REAL, 0.1)
    else:
        sys.__unraisablehook__(lost)


def ignore_signals() -> None:
    """Let no signal, and no alarm of `exit_again`, cut short the last messages."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGINT, do_nothing)
    signal.signal(signal.SIGTERM, do_nothing)


def do_nothing(_signal_number: int, _frame: FrameType | None) -> None:
    """Do nothing. With SIG_IGN, Python would report a signal that has just come."""


def hold_signals() -> None:
    """Let a first Ctrl-C or SIGTERM wait for `exit_if_signalled`.

    A second one ends the run at once.
    """
    signal.signal(signal.SIGINT, hold_signal)
    signal.signal(signal.SIGTERM, hold_signal)


def hold_signal(signal_number: int, _frame: FrameType | None) -> None:
    """Note a first signal, and say so on stderr.

    Another one within a second is the same: torchrun passes on a signal that the shell
    has sent to all processes already.
    """
    if not held:
        held.append((signal_number, time.monotonic()))
        os.write(2, b"\nending after this step; once more ends at once\n")
    elif time.monotonic() - held[0][1] > 1:
        exit_on_signal(signal_number)


def signalled() -> bool:
    """Return whether a held signal waits."""
    return bool(held)


def exit_if_signalled() -> None:
    """End the run if a held signal waits."""
    if held:
        exit_on_signal(held[0][0])


def release_signals() -> None:
    """End the run if a held signal waits; hold no more."""
    exit_on_signals()
    exit_if_signalled()
