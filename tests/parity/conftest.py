"""Changes to the shared model that both halves must bear."""

from typing import Any

import pytest
from tensorboard.summary.writer import event_file_writer
from tensorboard.summary.writer.event_file_writer import AtomicCounter
from torch import nn

from shared.model import AutoEncoder


@pytest.fixture(autouse=True)
def ordered_event_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the event files of runs in one second sort by age: 10 goes before 9."""
    monkeypatch.setattr(event_file_writer, "_global_uid", AtomicCounter(1000))


@pytest.fixture
def dropout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put dropout into the shared model."""
    init = AutoEncoder.__init__

    def init_with_dropout(self: AutoEncoder, *args: Any) -> None:
        init(self, *args)
        self.encoder.insert(2, nn.Dropout(0.2))

    monkeypatch.setattr(AutoEncoder, "__init__", init_with_dropout)
