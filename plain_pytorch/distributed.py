"""Train in several processes, by hand.

torchrun --nproc-per-node 2 -m plain_pytorch.distributed --max-epochs 3
"""

import os
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DistributedSampler
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from shared.checkpoints.lightning_format import LIGHTNING_VERSION
from shared.checkpoints.whole_files import write_checkpoint
from shared.data import Batch, MNISTData
from shared.model import AutoEncoder
from shared.options.common import LOG_EVERY_N_STEPS
from shared.options.distributed import Config
from shared.runtime.command import run


# 1. The model: its loss on a batch, and its optimizer.
class Model(AutoEncoder):
    """The shared model, and how it learns."""

    def __init__(self, hidden_dim: int, latent_dim: int, learning_rate: float) -> None:
        super().__init__(hidden_dim, latent_dim)
        self.hparams = {
            "hidden_dim": hidden_dim,
            "latent_dim": latent_dim,
            "learning_rate": learning_rate,
        }

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, _ = batch
        loss = self.reconstruction_loss(images)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, _ = batch
        loss = self.reconstruction_loss(images)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.hparams["learning_rate"])


class Step(nn.Module):
    """The loss as a forward(): DDP averages the gradients of no other method."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch, batch_idx: int) -> Tensor:
        model = self.model
        step = model.training_step if model.training else model.validation_step
        return step(batch, batch_idx)


# 2. The loop: for every epoch, for every batch, one step.
def fit(model: Model, data: MNISTData, config: Config, run_dir: Path) -> None:
    """Train, and validate after every epoch."""
    # Processes: each has the whole model, and its own part of the images.
    dist.init_process_group("cpu:gloo,cuda:nccl" if config.use_cuda else "gloo")
    rank, world_size = dist.get_rank(), dist.get_world_size()
    torch.manual_seed(config.seed)  # again, as each process of a Trainer does
    # Data: one process downloads it.
    if os.environ.get("LOCAL_RANK", "0") == "0":
        data.prepare_data()
    dist.barrier()
    data.setup("fit")
    train_loader = data.train_dataloader()  # its EpochSampler deals the images out
    val_loader = data.dataloader(
        data.val_set,
        DistributedSampler(data.first("val", data.val_set), shuffle=False),
    )
    # Device.
    if config.use_cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        model.cuda()
    step = DistributedDataParallel(Step(model))
    # Optimizer.
    optimizer = model.configure_optimizers()
    # Logging.
    writer = SummaryWriter(run_dir) if rank == 0 else None
    # Epochs.
    global_step, best_val_loss = 0, float("inf")
    for epoch in range(config.max_epochs):
        # Training.
        model.train()
        train_loader.sampler.set_epoch(epoch)
        bar = tqdm(train_loader, f"Epoch {epoch}", disable=rank > 0)
        for batch_idx, batch in enumerate(bar):
            if config.use_cuda:
                batch = [tensor.cuda() for tensor in batch]
            loss = step(batch, batch_idx)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            global_step += 1
            if writer and global_step % LOG_EVERY_N_STEPS == 0:
                writer.add_scalar("train_loss", loss.item(), global_step - 1)
        # Validation: the mean loss, weighted by batch size.
        model.eval()
        loss_sum, num_images = torch.zeros(()), 0
        with torch.no_grad():
            for batch_idx, batch in enumerate(val_loader):
                if config.use_cuda:
                    batch = [tensor.cuda() for tensor in batch]
                loss = step(batch, batch_idx)
                loss_sum += loss.cpu() * len(batch[0])
                num_images += len(batch[0])
        dist.all_reduce(loss_sum)  # the sum over all processes
        val_loss = (loss_sum / world_size / num_images).item()
        if rank > 0:  # only rank 0 logs and saves
            continue
        print(f"val_loss: {val_loss:.6f}")
        writer.add_scalar("val_loss", val_loss, global_step - 1)
        # Checkpoints: the best and the last.
        checkpoint = {
            "pytorch-lightning_version": LIGHTNING_VERSION,
            "epoch": epoch,
            "global_step": global_step,
            "state_dict": model.state_dict(),
            "optimizer_states": [optimizer.state_dict()],
            "hyper_parameters": model.hparams,
        }
        write_checkpoint(run_dir / "checkpoints" / "last.ckpt", checkpoint)
        if val_loss < best_val_loss:
            best_val_loss = val_loss
            write_checkpoint(run_dir / "checkpoints" / "best.ckpt", checkpoint)
    if writer:
        writer.close()
    dist.destroy_process_group()


# 3. The run.
def main(config: Config, run_dir: Path) -> None:
    """Train a new model."""
    torch.manual_seed(config.seed)
    model = Model(config.hidden_dim, config.latent_dim, config.learning_rate)
    data = MNISTData(config)
    fit(model, data, config, run_dir)


if __name__ == "__main__":
    run(main)
