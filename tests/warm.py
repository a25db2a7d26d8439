"""Modules that a server of processes imports once, for all processes that it forks."""

import signal

signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the commands it runs

import torch

import lightning.train  # noqa: F401
import plain_pytorch.train  # noqa: F401
from shared.datasets.catalog import load_5k

load_5k()
torch.optim.Adam([torch.zeros(1)])  # the first one imports torch.compile: 2 seconds
