"""The options of the lesson `profiling`."""

from dataclasses import dataclass
from typing import Literal

from shared.options import train


@dataclass(frozen=True)
class Config(train.Config):
    """A training that measures its parts."""

    profiler: Literal["simple", "pytorch"] = "simple"
    """simple prints the seconds of each part; pytorch writes a trace for Chrome."""
