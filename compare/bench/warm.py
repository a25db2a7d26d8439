"""What a server of processes has at hand when it forks one: both halves, and data."""

import signal

signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for those it works for

import torch

import lightning.train  # noqa: F401
import plain_pytorch.train  # noqa: F401
from shared.datasets.catalog import load_5k

load_5k()
torch.optim.Adam([torch.zeros(1)])  # the first one imports torch.compile: 2 seconds
