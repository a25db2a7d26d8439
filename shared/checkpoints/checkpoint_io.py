"""A Trainer's plugin that writes and reads checkpoints; for the Lightning half only."""

from pathlib import Path
from typing import Any

from pytorch_lightning.plugins.io import TorchCheckpointIO

from shared.checkpoints.whole_files import read_checkpoint, write_checkpoint


class WholeFiles(TorchCheckpointIO):
    """Writes checkpoints whole or not at all, and notices a damaged one.

    A Trainer's own files can be lost in a power cut, and it compares no checksums.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write a checkpoint."""
        write_checkpoint(Path(path), checkpoint)

    def load_checkpoint(self, path: str | Path, *_: Any, **__: Any) -> dict[str, Any]:
        """Return a checkpoint."""
        return read_checkpoint(Path(path))
