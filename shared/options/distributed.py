"""The options of `distributed` and `sharding`, and of all runs of several processes."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import torch

from shared.options import train
from shared.options.checks import check_range
from shared.runtime.errors import UsageError
from shared.runtime.ranks import is_rank_0


@dataclass(frozen=True)
class Config(train.Config):
    """A training by several processes, each with --batch-size images of a step.

    The limits are for each process, too.
    """

    devices: int = field(
        default_factory=lambda: int(os.environ.get("LOCAL_WORLD_SIZE", 2))
    )
    """Processes on each machine, on GPUs one for each; by default 2, or as many as
    torchrun has started."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, ("devices",), at_least=1, at_most=1024)
        if self.use_cuda and self.devices > torch.cuda.device_count():
            raise UsageError(
                f"--devices {self.devices}: this machine has"
                f" {torch.cuda.device_count()} GPU; try --accelerator cpu"
            )

    @property
    def world_size(self) -> int:
        """Number of processes that train together."""
        return self.devices

    @property
    def torchrun(self) -> str:
        """The command that starts the processes of the plain half on a machine."""
        return f"torchrun --nproc-per-node {self.devices}"

    def make_run_dir(self, parent: Path) -> Path:
        """Make the folder of the run on rank 0, the only one that writes into it."""
        return (
            super().make_run_dir(parent) if is_rank_0() else parent / "that of rank 0"
        )
