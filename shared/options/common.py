"""The options of every run.

The options of a lesson are a dataclass, which is the command line of both halves. A
training extends `Config` of shared/options/train.py, any other lesson `RunConfig`.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

import torch

from shared.options.checks import check_range
from shared.runtime.errors import UsageError
from shared.runtime.run_dir import given_run_dir, new_run_dir

LOG_EVERY_N_STEPS = 10
"""Steps from one point of the train_loss curve to the next."""


@dataclass(frozen=True)
class RunConfig:
    """The options of every run, the same for both halves.

    Raises:
        UsageError: a value is out of its range, or there is no GPU to compute on.
    """

    dataset: Literal["auto", "mnist", "mnist-5k", "fashion-mnist"] = "auto"
    """Images to train on; auto is mnist if it can be found or downloaded, otherwise
    mnist-5k."""
    data_dir: Path = field(
        default_factory=lambda: Path(os.environ.get("DATA_DIR", "data"))
    )
    """Folder of the images; DATA_DIR in the environment changes the default."""
    output_dir: Path = Path("output")
    """Folder of all runs; each makes a new folder <lesson>/<half>/version_N in it."""
    run_dir: Path | None = None
    """Folder of this run, new or empty, instead of a new version_N."""
    batch_size: int = 64
    """Number of images per step."""
    seed: int = 42
    """Seed of all random numbers: the first weights, the order of the images."""
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    """Device to compute on; auto is cuda if there is a GPU, otherwise cpu."""
    num_workers: int = 0
    """Number of extra processes that load images; 0: the main process does it."""
    threads: int = 1
    """Number of CPU threads; another number can change the last bits."""

    def __post_init__(self) -> None:
        check_range(self, ("batch_size",), at_least=1)
        check_range(self, ("num_workers",), at_least=0, at_most=1024)
        check_range(self, ("threads",), at_least=1, at_most=1024)
        check_range(self, ("seed",), at_least=0, at_most=2**32 - 1)
        if self.use_cuda and not torch.cuda.is_available():
            raise UsageError("--accelerator cuda: torch finds no GPU; try auto or cpu")

    @property
    def use_cuda(self) -> bool:
        """True if this run computes on a GPU."""
        if self.accelerator == "auto":
            return torch.cuda.is_available()
        return self.accelerator == "cuda"

    @property
    def world_size(self) -> int:
        """Number of processes that train together."""
        return 1

    def make_run_dir(self, parent: Path) -> Path:
        """Make and return the folder of the run, by default a new one in `parent`."""
        return given_run_dir(self.run_dir) if self.run_dir else new_run_dir(parent)

    def for_comparison(self) -> Self:
        """Return the options with which both halves can run, one after the other.

        Raises:
            UsageError: with these options their runs could not be compared.
        """
        return self
