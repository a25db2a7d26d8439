"""The options of the lesson `checkpoint`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse.typing import restricted_number_type

from shared.checkpoints.resume import choose_run_dir
from shared.options.train import Count, TrainConfig
from shared.runtime.errors import UsageError

if TYPE_CHECKING:
    TopK = int
else:
    TopK = restricted_number_type("TopK", int, [(">=", -1), ("<", 2**31)])


@dataclass(frozen=True)
class CheckpointConfig(TrainConfig):
    """A training that can be stopped and resumed."""

    ckpt_path: str | None = None
    """Checkpoint to resume from, of either half; last is that of the newest run of this
    half, and none if there is none."""
    save_top_k: TopK = 1
    """Keep this many of the best epochs; 0 keeps none, -1 all of them."""
    every_n_train_steps: Count | None = None
    """Save last.ckpt after every so many steps, too, not only after an epoch."""
    checkpointing: bool = True
    """Whether to save anything."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ckpt_path == "":
            raise UsageError("--ckpt-path is empty: name a file, or leave it out")
        if self.ckpt_path and not self.checkpointing:
            raise UsageError("--no-checkpointing: a resumed run goes on in its files")
        if not self.checkpointing and self.every_n_train_steps:
            raise UsageError("--every-n-train-steps has no use with --no-checkpointing")

    def make_run_dir(self, parent: Path) -> Path:
        """Return the folder of the run that is resumed, or make a new one."""
        return choose_run_dir(self.ckpt_path, parent)
