"""A signal ends the process once, wherever it comes."""

import signal
import subprocess
import sys
import time

import pytest

from shared.runtime.signals import exit_on_signals, ignore_signals
from tests.processes import ROOT


class Dropping:
    """Gets a signal where Python drops exceptions."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGTERM)


def test_a_signal_in_del_is_not_lost(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)  # undone at the end
    exit_on_signals()
    Dropping()
    with pytest.raises(SystemExit, match="143"):
        time.sleep(10)
    assert capsys.readouterr().err == ""


def test_a_process_that_ends_anyway_ends_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)  # undone at the end
    exit_on_signals()
    Dropping()
    ignore_signals()
    time.sleep(0.2)


STUBBORN = """
import multiprocessing, signal, time
from shared.runtime.signals import exit_on_signals

def work(ready):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as the workers of MNISTData do
    ready.set()
    time.sleep(60)

if __name__ == "__main__":
    exit_on_signals()
    ready = multiprocessing.Event()
    multiprocessing.Process(target=work, args=(ready,), daemon=True).start()
    ready.wait()
    signal.raise_signal(signal.SIGTERM)
"""


def test_no_worker_keeps_a_process_from_ending() -> None:
    """A loader that a signal interrupts while it starts its workers forgets them."""
    process = subprocess.run([sys.executable, "-c", STUBBORN], cwd=ROOT, timeout=30)
    assert process.returncode == 143
