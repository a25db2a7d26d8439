"""The options of the lesson `cluster`."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from shared.options import distributed
from shared.options.checks import check_range
from shared.runtime.errors import UsageError


def default_num_nodes() -> int:
    """Return the number of machines on which torchrun has started processes, or 1."""
    if "LOCAL_WORLD_SIZE" not in os.environ:  # a Trainer's child has WORLD_SIZE alone
        return 1
    return int(os.environ["WORLD_SIZE"]) // int(os.environ["LOCAL_WORLD_SIZE"])


@dataclass(frozen=True)
class Config(distributed.Config):
    """A training on several machines that goes on after a failure."""

    run_dir: Path | None = None
    """Folder of this run, shared by all machines; with a last.ckpt in it, the run goes
    on from there. Without this option, each start is a new run."""
    num_nodes: int = field(default_factory=default_num_nodes)
    """Number of machines; by default 1, or the --nnodes of torchrun."""
    timeout: int = 60
    """Seconds to wait for a process that does not answer. One process downloads while
    the others wait: that must not take longer."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, ("num_nodes",), at_least=1, at_most=65536)
        check_range(self, ("timeout",), at_least=1)

    @property
    def world_size(self) -> int:
        """Number of processes that train together."""
        return self.devices * self.num_nodes

    @property
    def torchrun(self) -> str:
        """The command that starts the processes of the plain half on a machine."""
        if self.num_nodes == 1:
            return super().torchrun
        machine = f"--nnodes {self.num_nodes} --node-rank N --master-addr HOST"
        return f"{super().torchrun} {machine}"

    def make_run_dir(self, parent: Path) -> Path:
        """Make the folder of the run, which may have files of an earlier start."""
        if not self.run_dir:
            return super().make_run_dir(parent)
        self.run_dir.mkdir(parents=True, exist_ok=True)
        return self.run_dir

    def for_comparison(self) -> Self:
        """Return the options; a comparison runs on this machine alone."""
        if self.num_nodes > 1:
            raise UsageError("--num-nodes: a comparison runs on one machine")
        return self
