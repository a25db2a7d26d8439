"""Imported once by the process that the commands of the tests are forked from."""

import torch

import lightning.train  # noqa: F401
import plain_pytorch.train  # noqa: F401

torch.optim.Adam([torch.zeros(1)])  # the first one imports torch.compile: 2 seconds
