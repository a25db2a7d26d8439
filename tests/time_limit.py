"""Fail a test that hangs."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest


@contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    """Fail where something takes longer, as what hangs does."""

    def give_up(*_: Any) -> None:
        pytest.fail(f"no end after {seconds} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
