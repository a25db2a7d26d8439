"""The options of the lesson `distributed`, and of all runs of several processes."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch

from shared.checkpoints.resume import resumed_run_dir
from shared.options.checkpoint import CheckpointConfig
from shared.options.train import Count, TrainConfig
from shared.runtime.errors import UsageError
from shared.runtime.ranks import is_rank_0


def default_devices() -> int:
    """Return how many processes torchrun has started on this machine, otherwise 1."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def default_num_nodes() -> int:
    """Return on how many machines torchrun has started processes, otherwise 1."""
    if "LOCAL_WORLD_SIZE" not in os.environ:  # a Trainer's child has WORLD_SIZE alone
        return 1
    return int(os.environ["WORLD_SIZE"]) // default_devices()


@dataclass(frozen=True)
class RanksConfig(TrainConfig):
    """A training by several processes, each with --batch-size images of a step."""

    devices: Count = field(default_factory=default_devices)
    """Processes on each machine, with a GPU each where they compute on GPUs; torchrun
    has said it already."""
    num_nodes: Count = field(default_factory=default_num_nodes)
    """Machines; torchrun has said it already."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.use_cuda and self.devices > torch.cuda.device_count():
            raise UsageError(
                f"--devices {self.devices}: this machine has"
                f" {torch.cuda.device_count()} GPU; try --accelerator cpu"
            )

    @property
    def world_size(self) -> int:
        """How many processes train together."""
        return self.devices * self.num_nodes

    def make_run_dir(self, parent: Path) -> Path:
        """Return the folder of the run; only rank 0 makes it, and tells the others."""
        return (
            super().make_run_dir(parent) if is_rank_0() else parent / "that of rank 0"
        )


@dataclass(frozen=True)
class DistributedConfig(RanksConfig, CheckpointConfig):
    """A training by several processes, that can be stopped and resumed."""

    strategy: Literal["ddp"] = "ddp"
    """How the processes share the work: each has all of the model and its own part of
    the images."""
    timeout: Count = 10
    """Seconds to wait for a process that does not answer, once training has begun;
    what rank 0 does alone, as to save, has to fit in."""

    def make_run_dir(self, parent: Path) -> Path:
        """Return the folder of the run, which a resumed run has already."""
        resumed = None if is_rank_0() else resumed_run_dir(self.ckpt_path, parent)
        return resumed or super().make_run_dir(parent)
