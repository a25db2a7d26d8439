"""`sync_dist=True` forgotten: what each rank takes for the validation loss."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from tabulate import tabulate
from torch import Tensor

import lightning.distributed
from compare.bench.measured import Results
from compare.bench.processes import Lab
from lightning.distributed import LitDistributedAutoEncoder
from shared.data import Batch


class ForgetfulAutoEncoder(LitDistributedAutoEncoder):
    """The autoencoder of the lesson, but for one argument of self.log."""

    val_losses: ClassVar[list[float]] = []

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Log what this rank sees."""
        images, _ = batch
        loss = self.reconstruction_loss(images)
        self.log("val_loss", loss)  # and not sync_dist=True
        return loss

    def on_validation_end(self) -> None:
        """Note what a ModelCheckpoint on this rank looks at."""
        if not self.trainer.sanity_checking:
            self.val_losses.append(self.trainer.callback_metrics["val_loss"].item())


@contextmanager
def forgetful(path: Path) -> Iterator[None]:
    """Forget sync_dist in this rank's training, and write down what it logs."""
    lightning.distributed.LitDistributedAutoEncoder = ForgetfulAutoEncoder  # type: ignore[misc]
    yield
    path.with_suffix(".json").write_text(json.dumps(ForgetfulAutoEncoder.val_losses))


def measure(lab: Lab) -> Results:
    """Return what each rank takes for the validation loss, and what it is."""
    size = lab.config.batch_size // 2
    name = f"2x{size}, sync_dist forgotten"
    forgot = lab.train(name, 2, size, "lightning", around=forgetful)
    synced = lab.train(f"2x{size}, sync_dist", 2, size, "lightning")
    ranks = {
        f"rank {rank}": json.loads((lab.folder / name / f"rank{rank}.json").read_text())
        for rank in (0, 1)
    }
    return {
        "TensorBoard": forgot["val_loss"][:, 1].tolist(),
        **ranks,
        "with sync_dist": synced["val_loss"][:, 1].tolist(),
    }


def show(results: Results) -> str:
    """Return the table."""
    columns = results["sync_dist"]
    rows = [
        (epoch, *row) for epoch, row in enumerate(zip(*columns.values(), strict=True))
    ]
    table = tabulate(rows, ["epoch", *columns], floatfmt=".6f")
    return f"sync_dist=True forgotten: val_loss of the same weights\n\n{table}"
