"""The options of the lesson `resume`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from shared.checkpoints.resume import choose_run_dir, resumed_run_dir
from shared.options import train
from shared.options.checks import check_range
from shared.runtime.errors import UsageError


@dataclass(frozen=True)
class Config(train.Config):
    """The options of a training that can be stopped at any moment."""

    ckpt_path: str | None = None
    """File of either half to go on from; last is that of this half's newest run."""
    every_n_train_steps: int = 100
    """Save after this many steps, and after every epoch."""
    save_top_k: int = 1
    """Keep this many of the best epochs; 0 keeps none, -1 all of them."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, ("every_n_train_steps",), at_least=1)
        check_range(self, ("save_top_k",), at_least=-1)
        if self.ckpt_path == "":
            raise UsageError("--ckpt-path is empty: name a file, or leave it out")

    def make_run_dir(self, parent: Path) -> Path:
        """Return the folder of the run that goes on, or make a new one.

        Raises:
            UsageError: --run-dir names a folder for a run that has one already.
        """
        if self.run_dir is None:
            return choose_run_dir(self.ckpt_path, parent)
        if resumed_run_dir(self.ckpt_path, parent):
            raise UsageError(
                "--run-dir: the run of this --ckpt-path goes on in its own folder"
            )
        return super().make_run_dir(parent)

    def for_comparison(self) -> Self:
        """Return the options as they are.

        Raises:
            UsageError: both halves would go on in the same folder.
        """
        if self.ckpt_path:
            raise UsageError("--ckpt-path: two halves cannot go on with one run")
        return self
