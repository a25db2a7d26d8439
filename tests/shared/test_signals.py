"""A signal ends the process once, wherever it comes."""

import signal
import sys
import time

import pytest

from shared.runtime.signals import exit_on_signals, ignore_signals


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
