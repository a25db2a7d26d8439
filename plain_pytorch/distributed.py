"""Train on several processes, GPUs or machines, by hand.

    torchrun --nproc-per-node 2 -m plain_pytorch.distributed --batch-size 32

Every process runs all of this, on its own images; without torchrun there is one.
"""

import os
from collections.abc import Callable
from contextlib import nullcontext
from itertools import islice
from math import inf
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DistributedSampler
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from plain_pytorch.checkpoint import PlainDecayingAutoEncoder, TrainState, keep_best
from plain_pytorch.train import log_metric
from shared.checkpoints.resume import describe, find_checkpoint
from shared.checkpoints.rng import (
    gather_rng_states,
    get_rng_states,
    of_this_rank,
    set_rng_states,
)
from shared.checkpoints.whole_files import (
    load_weights,
    read_checkpoint,
    write_checkpoint,
)
from shared.data import Batch, EpochSampler, ImageDataset, MNISTData
from shared.options.distributed import DistributedConfig, RanksConfig
from shared.options.train import LOG_EVERY_N_STEPS
from shared.runtime.command import report, run
from shared.runtime.errors import require_finite
from shared.runtime.ranks import (
    Watchdog,
    refuse_to_start_alone,
    set_timeout,
    signalled_anywhere,
)
from shared.runtime.signals import exit_on_signal, hold_signals, release_signals


# 1. What to learn: the loss on one batch, and the optimizer.
class TrainingStep(nn.Module):
    """The loss on one batch as a forward(): DDP averages the gradients of no other."""

    def __init__(self, model: PlainDecayingAutoEncoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch, batch_idx: int) -> Tensor:
        return self.model.training_step(batch, batch_idx)


def reduce_mean(loss: Tensor) -> Tensor:
    """Return the mean of a loss over all ranks."""
    mean = loss.detach().clone()
    dist.all_reduce(mean)  # [reduce] a sum: gloo has no mean
    return mean / dist.get_world_size()


# 2. How to train: for every epoch, for every batch, one step down the gradient.
def join_group(config: RanksConfig, lesson: str = "distributed") -> None:
    """Meet the other processes."""
    if not dist.is_torchelastic_launched():
        module = f"plain_pytorch.{lesson}"
        refuse_to_start_alone(config.num_nodes, config.devices, module)
        alone = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}
        os.environ |= alone | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    if config.use_cuda:
        torch.cuda.set_device(dist.get_node_local_rank())  # [device]
    dist.init_process_group("nccl" if config.use_cuda else "gloo")  # [group]


class RankState(TrainState):
    """All that changes in a training, on all ranks: what they have in common, once."""

    def state_dict(self) -> dict[str, Any]:
        rng_states = gather_rng_states(self.rng_states)  # [rng]
        return super().state_dict() | {"rng_states_of_ranks": rng_states}

    def load_state_dict(self, checkpoint: dict[str, Any]) -> None:
        own = get_rng_states()
        super().load_state_dict(checkpoint)
        # [rng] With more or fewer ranks than then, each keeps that of its seed.
        self.rng_states = of_this_rank(checkpoint.get("rng_states_of_ranks", []), own)
        set_rng_states(self.rng_states)


def fit(
    model: PlainDecayingAutoEncoder,
    data: MNISTData,
    config: DistributedConfig,
    run_dir: Path,
    ckpt_path: Path | None,
) -> RankState:
    """Train to the last epoch, from the first or from where a checkpoint stands."""
    if dist.get_node_local_rank() == 0:
        data.prepare_data()  # [download] on one process of each machine
    dist.barrier()
    data.setup("fit")
    if config.use_cuda:
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # [deterministic]
        torch.use_deterministic_algorithms(True)
        model.cuda()  # [device] before the optimizer sees the parameters
    optimizer, scheduler = model.configure_optimizers()
    state = RankState(model, optimizer, scheduler, run_dir / "checkpoints")
    if ckpt_path:
        state.resume(ckpt_path, config, data)  # [resume]

    def save(name: str) -> None:
        # [checkpoint] Every rank has a part in it; rank 0 writes.
        checkpoint = state.state_dict() | describe(config, data)
        if writer and config.checkpointing:
            writer.flush()  # [log] a run that is killed keeps the points until here
            write_checkpoint(state.folder / name, checkpoint)
        dist.barrier()  # it is whole before another is deleted

    # [log] By rank 0 alone. Points after the checkpoint, of a killed run, come again.
    rank, step = dist.get_rank(), state.position.global_step or None
    log = SummaryWriter(run_dir, purge_step=step) if rank == 0 else nullcontext()
    with log as writer:
        dist.barrier()
        set_timeout(config.timeout)  # [timeout] from now on
        Watchdog().start()  # [hang]
        hold_signals()  # [signal]
        run_epochs(state, data, config, writer, save)
        save("last.ckpt")
        release_signals()
    return state


def run_epochs(
    state: RankState,
    data: MNISTData,
    config: DistributedConfig,
    writer: SummaryWriter | None,
    save: Callable[[str], None],
) -> None:
    """Train and validate from where `state` stands."""
    model, position = state.model, state.position
    rank, world_size = dist.get_rank(), dist.get_world_size()
    # [shard] Every rank has its own part of the images.
    sampler = EpochSampler(len(data.train_set), config.seed, world_size, rank)
    train_loader = data.dataloader(data.train_set, sampler)
    device = next(model.parameters()).device
    device_ids = [device] if config.use_cuda else None
    # [ddp] Its backward() averages the gradients: the ranks' weights stay equal.
    ddp_step = DistributedDataParallel(TrainingStep(model), device_ids)
    limit = config.limit_train_batches  # [limit]
    num_batches = min(limit, len(train_loader)) if limit else len(train_loader)
    every = config.every_n_train_steps or inf
    with tqdm(total=num_batches, disable=rank > 0) as bar:  # [progress]
        for epoch in range(position.epoch, config.max_epochs):  # [epochs]
            sampler.set_epoch(epoch)  # [shuffle] anew in every epoch
            # [position] Images that were seen before the stop are not seen again.
            sampler.skip = position.batch_idx * config.batch_size
            model.train()  # [mode]
            bar.reset()
            bar.set_description(f"Epoch {epoch}")
            bar.update(position.batch_idx)
            batches = islice(train_loader, num_batches - position.batch_idx)
            for batch_idx, batch in enumerate(batches, position.batch_idx):
                step = position.global_step
                stop = signalled_anywhere(step, device)  # [signal]
                if batch_idx == 0 or step % every == 0 or stop:
                    save("last.ckpt")  # [checkpoint]
                if stop:
                    exit_on_signal(stop, None)
                if config.use_cuda:
                    batch = [tensor.cuda() for tensor in batch]  # [device]
                loss = ddp_step(batch, batch_idx)
                mean_loss = reduce_mean(loss).item()
                require_finite("training loss", mean_loss, step)  # [finite]
                state.optimizer.zero_grad()  # [zero_grad]
                loss.backward()  # [backward]
                state.optimizer.step()  # [step]
                num_images = len(batch[0]) * world_size
                state.loss_sum += mean_loss * num_images  # [mean]
                state.num_images += num_images
                bar.update()
                if writer and (step + 1) % LOG_EVERY_N_STEPS == 0:
                    log_metric(writer, "train_loss", mean_loss, step, epoch)
                    bar.set_postfix(train_loss=mean_loss, refresh=False)
                position.batch_idx, position.global_step = batch_idx + 1, step + 1
                state.rng_states = get_rng_states()  # [rng]

            state.scheduler.step()  # [schedule]
            limit = config.limit_val_batches
            val_loss = evaluate(model, model.validation_step, data, data.val_set, limit)
            require_finite("validation loss", val_loss, step + 1)  # [finite]
            train_loss = (state.loss_sum / state.num_images).item()
            if writer:  # [log]
                log_metric(writer, "val_loss", val_loss, step, epoch)
                log_metric(writer, "train_loss_epoch", train_loss, step, epoch)
            bar.set_postfix(train_loss=train_loss, val_loss=val_loss)
            state.loss_sum, state.num_images = torch.zeros(()), 0
            position.epoch, position.batch_idx = epoch + 1, 0
            state.rng_states = get_rng_states()
            if config.checkpointing:
                keep_best(state, val_loss, config.save_top_k, save)  # [top_k]


# 3. How to evaluate: the mean loss over a loader, over all ranks.
@torch.no_grad()  # [no_grad]
def evaluate(
    model: PlainDecayingAutoEncoder,
    step: Callable[[Batch, int], Tensor],
    data: MNISTData,
    images: ImageDataset,
    limit: int | None,
) -> float:
    """Return the mean loss of every rank's first `limit` batches, or of all."""
    # [shard] Where the images cannot be dealt out evenly, some are counted twice.
    loader = data.dataloader(images, DistributedSampler(images, shuffle=False))
    for buffer in model.buffers():
        # [buffers] Each rank has seen other images: what is saved, and so validated, is
        # BatchNorm's count on rank 0. DDP does this before each call, in training, too.
        dist.broadcast(buffer, src=0)
    model.eval()  # [mode]
    on_gpu = next(model.parameters()).is_cuda
    loss_sum, num_images = torch.zeros(()), 0
    for batch_idx, batch in enumerate(islice(loader, limit)):  # [limit]
        if on_gpu:
            batch = [tensor.cuda() for tensor in batch]  # [device]
        loss = step(batch, batch_idx)
        loss_sum = loss_sum + loss * len(batch[0])  # [mean]
        num_images += len(batch[0])
    return (reduce_mean(loss_sum).cpu() / num_images).item()  # every rank has as many


# 4. Do it.
def main(config: DistributedConfig, run_dir: Path) -> None:
    """Train, then test the weights that did best in validation."""
    join_group(config)
    paths: list[Any] = [run_dir, find_checkpoint(config.ckpt_path, run_dir)]
    dist.broadcast_object_list(paths)  # [folder] made by rank 0, which tells the others
    run_dir, ckpt_path = paths
    torch.manual_seed(config.seed)  # [seed] right before the weights are drawn
    model = PlainDecayingAutoEncoder(
        config.hidden_dim, config.latent_dim, config.learning_rate
    )
    torch.manual_seed(config.seed + dist.get_rank())  # [seed] dropout of its own
    data = MNISTData(config)
    state = fit(model, data, config, run_dir, ckpt_path)
    path = min(state.best_k_models, key=state.best_k_models.__getitem__, default=None)
    if path:
        load_weights(model, read_checkpoint(Path(path)), Path(path))
    data.setup("test")
    limit = config.limit_test_batches
    test_loss = evaluate(model, model.test_step, data, data.test_set, limit)
    require_finite("test loss", test_loss, state.position.global_step)  # [finite]
    if dist.get_rank() == 0:
        with SummaryWriter(run_dir) as writer:  # [log]
            step = state.position.global_step
            log_metric(writer, "test_loss", test_loss, step, config.max_epochs)
        best_val_loss = state.best_k_models[path].item() if path else None
        report(run_dir, data.dataset_name, best_val_loss, test_loss)
    dist.destroy_process_group()


if __name__ == "__main__":
    run("plain_pytorch", "distributed", main)
