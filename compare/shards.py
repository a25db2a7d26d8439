"""What a validation loss is when several processes share the images of a validation."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import torch
from tabulate import tabulate
from torch import Tensor
from torch.utils.data import DistributedSampler

import lightning.distributed
from compare.ranks import Lab
from lightning.distributed import LitDistributedAutoEncoder
from shared.data import Batch, MNISTData
from shared.model import AutoEncoder


def compare_samplers(lab: Lab, data: MNISTData) -> None:
    """Print which images count twice, and how far that moves the loss."""
    size = lab.config.batch_size
    run = lab.train(f"3x{size}", 3, size, max_epochs=1, limit_val_batches=None)
    model = AutoEncoder(lab.config.hidden_dim, lab.config.latent_dim)
    model.load_state_dict({key: run[key] for key in model.state_dict()})
    images, _ = data.val_set.__getitems__(range(len(data.val_set)))
    with torch.no_grad():
        drawn = model.decoder(model(images))
    losses = (drawn - images.flatten(1)).double().square().mean(1)
    once = losses.mean().item()
    rows = [("1, each image once", 0, "", f"{once:.7f}", "")]
    logged = run["val_loss"][-1, 1].item()
    for processes, padded in ((3, logged), (64, None)):
        dealt: list[int] = []
        for rank in range(processes):
            dealt += DistributedSampler(data.val_set, processes, rank, shuffle=False)
        twice = sorted(index for index, n in Counter(dealt).items() if n == 2)
        these = ", ".join(map(str, twice[:3])) + (", ..." if len(twice) > 3 else "")
        name = f"{processes}, a run" if padded else f"{processes}, calculated"
        loss = padded or losses[dealt].mean().item()
        row = (name, len(twice), these, f"{loss:.7f}", f"{loss - once:+.7f}")
        rows.append(row)
    print(f"\nval_loss of the same weights, {len(losses)} images dealt out\n")
    headers = ["processes", "counted twice", "which", "val_loss", "moved by"]
    print(tabulate(rows, headers, disable_numparse=True), flush=True)


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


def forget_sync_dist(lab: Lab) -> None:
    """Print what each rank takes for the validation loss, and what it is."""
    size = lab.config.batch_size // 2
    name = f"2x{size}, sync_dist forgotten"
    forgot = lab.train(name, 2, size, "lightning", around=forgetful)
    synced = lab.train(f"2x{size}, sync_dist", 2, size, "lightning")
    ranks = [
        json.loads((lab.folder / name / f"rank{rank}.json").read_text())
        for rank in (0, 1)
    ]
    columns = (forgot["val_loss"][:, 1], *ranks, synced["val_loss"][:, 1])
    rows = [
        (epoch, *map(float, row))
        for epoch, row in enumerate(zip(*columns, strict=True))
    ]
    print("\nsync_dist=True forgotten: val_loss of the same weights\n")
    headers = ["epoch", "TensorBoard", "rank 0", "rank 1", "with sync_dist"]
    print(tabulate(rows, headers, floatfmt=".6f"), flush=True)
