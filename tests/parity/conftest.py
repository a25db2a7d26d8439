"""What the parity tests share: a model in which mode and random numbers matter."""

from typing import Any

import pytest
from torch import nn

from shared.model import AutoEncoder


@pytest.fixture
def dropout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put dropout into the shared model."""
    init = AutoEncoder.__init__

    def init_with_dropout(self: AutoEncoder, *args: Any) -> None:
        init(self, *args)
        self.encoder.insert(2, nn.Dropout(0.2))

    monkeypatch.setattr(AutoEncoder, "__init__", init_with_dropout)
