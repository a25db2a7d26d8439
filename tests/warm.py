"""What a server of processes has at hand when it forks one: both halves, and data."""

import plain_pytorch.checkpoint  # noqa: F401
from shared.datasets import load_5k

load_5k()
