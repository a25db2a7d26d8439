"""Train a model that no process has whole, by hand.

    torchrun --nproc-per-node 2 -m plain_pytorch.sharding --batch-size 32

Every process keeps its part of each weight, of its gradient and of what the optimizer
knows of it (FSDP2), and borrows the others' parts of the weights while it computes.
"""

import os
from contextlib import nullcontext
from itertools import islice
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from plain_pytorch.checkpoint import PlainDecayingAutoEncoder
from plain_pytorch.distributed import evaluate, join_group, reduce_mean
from plain_pytorch.train import log_metric
from shared.checkpoints.lightning_format import LIGHTNING_VERSION
from shared.checkpoints.sharded import META, consolidate
from shared.checkpoints.whole_files import write_checkpoint
from shared.data import EpochSampler, MNISTData
from shared.options.sharding import ShardingConfig
from shared.options.train import LOG_EVERY_N_STEPS
from shared.runtime.command import report, run
from shared.runtime.errors import require_finite
from shared.runtime.signals import hold_signals, release_signals


# 1. What to learn: the loss on one batch, and the optimizer.
class PlainShardedAutoEncoder(PlainDecayingAutoEncoder):
    """The autoencoder, which can be dealt out to the ranks."""

    def shard(self, config: ShardingConfig) -> None:
        device_type = "cuda" if config.use_cuda else "cpu"
        mesh = init_device_mesh(device_type, (config.world_size,))  # [mesh]
        # [stage] Stage 2 keeps the borrowed weights until the backward pass is done,
        # DeepSpeed's for good: each of its ranks has room for all weights.
        give_back = config.strategy == "fsdp"
        for part in (self.encoder, self.decoder, self):  # [shard_model] from inside
            fully_shard(part, mesh=mesh, reshard_after_forward=give_back)


# 2. How to train: for every epoch, for every batch, one step down the gradient.
def fit(
    model: PlainShardedAutoEncoder,
    data: MNISTData,
    config: ShardingConfig,
    run_dir: Path,
) -> tuple[int, dict[Path, float]]:
    """Train, save every epoch; return the steps and each checkpoint's val_loss."""
    rank, world_size = dist.get_rank(), dist.get_world_size()
    if dist.get_node_local_rank() == 0:
        data.prepare_data()  # [download] on one process of each machine
    dist.barrier()
    data.setup("fit")
    if config.use_cuda:
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # [deterministic]
        torch.use_deterministic_algorithms(True)
        model.cuda()  # [device]
    model.shard(config)
    # [optimizer] After sharding: it is to see this rank's parts only.
    optimizer, scheduler = model.configure_optimizers()
    # [shard] Every rank has its own part of the images.
    sampler = EpochSampler(len(data.train_set), config.seed, world_size, rank)
    train_loader = data.dataloader(data.train_set, sampler)
    limit = config.limit_train_batches  # [limit]
    num_batches = min(limit, len(train_loader)) if limit else len(train_loader)
    global_step, val_losses = 0, {}

    def save(folder: Path) -> None:  # [checkpoint] Every rank writes its own part.
        hold_signals()  # [signal] an exit inside of a save torch takes for an error
        options = StateDictOptions(cpu_offload=True)
        weights, state = get_state_dict(model, optimizer, options=options)
        dcp.save({"state_dict": weights, "optimizer_0": state}, checkpoint_id=folder)
        meta = {
            "pytorch-lightning_version": LIGHTNING_VERSION,
            "epoch": epoch,
            "global_step": global_step,
            "hyper_parameters": model.hparams,
            "dataset": data.dataset_name,
        }
        if rank == 0:
            write_checkpoint(folder / META, meta)
        release_signals()

    with (
        SummaryWriter(run_dir) if rank == 0 else nullcontext() as writer,  # [log]
        tqdm(total=num_batches, disable=rank > 0) as bar,  # [progress]
    ):
        for epoch in range(config.max_epochs):  # [epochs]
            sampler.set_epoch(epoch)  # [shuffle] anew in every epoch
            model.train()  # [mode]
            loss_sum, num_images = torch.zeros(()), 0
            bar.reset()
            bar.set_description(f"Epoch {epoch}")
            for batch_idx, batch in enumerate(islice(train_loader, num_batches)):
                if config.use_cuda:
                    batch = [tensor.cuda() for tensor in batch]  # [device]
                loss = model.training_step(batch, batch_idx)
                mean_loss = reduce_mean(loss).item()
                require_finite("training loss", mean_loss, global_step)  # [finite]
                optimizer.zero_grad()  # [zero_grad]
                loss.backward()  # [backward] each rank gets its part of the mean
                optimizer.step()  # [step]
                loss_sum += mean_loss * len(batch[0]) * world_size  # [mean]
                num_images += len(batch[0]) * world_size
                bar.update()
                if writer and (global_step + 1) % LOG_EVERY_N_STEPS == 0:
                    log_metric(writer, "train_loss", mean_loss, global_step, epoch)
                    bar.set_postfix(train_loss=mean_loss, refresh=False)
                global_step += 1

            scheduler.step()  # [schedule]
            limit = config.limit_val_batches
            val_loss = evaluate(model, model.validation_step, data, data.val_set, limit)
            require_finite("validation loss", val_loss, global_step)  # [finite]
            train_loss = (loss_sum / num_images).item()
            if writer:  # [log]
                step = global_step - 1
                log_metric(writer, "val_loss", val_loss, step, epoch)
                log_metric(writer, "train_loss_epoch", train_loss, step, epoch)
            bar.set_postfix(train_loss=train_loss, val_loss=val_loss)
            folder = run_dir / "checkpoints" / f"epoch={epoch}.sharded"
            save(folder)
            val_losses[folder] = val_loss
    return global_step, val_losses


# 3. How to evaluate: the mean loss over a loader, over all ranks.
def test(
    model: PlainShardedAutoEncoder,
    data: MNISTData,
    config: ShardingConfig,
    folder: Path,
) -> float:
    """Return the loss on the test images, with the weights of a sharded checkpoint."""
    weights = model.state_dict()
    dcp.load({"state_dict": weights}, checkpoint_id=folder)  # [load] each its own part
    model.load_state_dict(weights)
    data.setup("test")
    limit = config.limit_test_batches
    return evaluate(model, model.test_step, data, data.test_set, limit)


# 4. Do it.
def main(config: ShardingConfig, run_dir: Path) -> None:
    """Train, then test the weights that did best in validation."""
    join_group(config, "sharding")
    made = [run_dir]
    dist.broadcast_object_list(made)  # [folder] by rank 0, which tells the others
    run_dir = made.pop()
    torch.manual_seed(config.seed)  # [seed] right before the weights are drawn
    model = PlainShardedAutoEncoder(
        config.hidden_dim, config.latent_dim, config.learning_rate
    )
    torch.manual_seed(config.seed + dist.get_rank())  # [seed] dropout of its own
    data = MNISTData(config)
    global_step, val_losses = fit(model, data, config, run_dir)
    best = min(val_losses, key=val_losses.__getitem__)
    last = best.with_name(f"epoch={config.max_epochs - 1}.sharded")
    test_loss = test(model, data, config, best)
    require_finite("test loss", test_loss, global_step)  # [finite]
    if dist.get_rank() == 0:
        with SummaryWriter(run_dir) as writer:  # [log]
            log_metric(writer, "test_loss", test_loss, global_step, config.max_epochs)
        consolidate(best, best.with_name("best.ckpt"))  # [consolidate]
        consolidate(last, last.with_name("last.ckpt"))
        report(run_dir, data.dataset_name, val_losses[best], test_loss)
    dist.destroy_process_group()


if __name__ == "__main__":
    run("plain_pytorch", "sharding", main)
