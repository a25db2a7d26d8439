"""Train a model that no process has whole, with a Trainer.

    python -m lightning.sharding --devices 2 --batch-size 32
    torchrun --nproc-per-node 2 -m lightning.sharding --batch-size 32

Every process keeps its part of each weight, of its gradient and of what the optimizer
knows of it (FSDP2), and borrows the others' parts of the weights while it computes.
"""

import importlib.util
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelCheckpoint, TQDMProgressBar
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.strategies import ModelParallelStrategy, Strategy
from pytorch_lightning.utilities.deepspeed import (
    convert_zero_checkpoint_to_fp32_state_dict,
)
from torch.distributed.fsdp import FSDPModule, fully_shard

from lightning.distributed import (
    LitDistributedAutoEncoder,
    LitDistributedMNIST,
    OwnSignals,
    SeedRanks,
)
from shared.checkpoints.sharded import consolidate
from shared.checkpoints.whole_files import write_checkpoint
from shared.options.sharding import ShardingConfig
from shared.options.train import LOG_EVERY_N_STEPS
from shared.runtime.command import report, run
from shared.runtime.errors import UsageError
from shared.runtime.signals import hold_signals, release_signals


# 1. What to learn: the loss on one batch, and the optimizer.
class LitShardedAutoEncoder(LitDistributedAutoEncoder):
    """The autoencoder, which can be dealt out to the ranks."""

    # As in `distributed`: the losses, their means over the ranks [mean], whether they
    # are finite [finite]. A Trainer steps the schedule after each epoch [schedule].

    def configure_model(self) -> None:
        if self.device_mesh is None or isinstance(self, FSDPModule):
            return  # DeepSpeed deals it out itself; a Trainer comes again for the test
        mesh = self.device_mesh["data_parallel"]  # [mesh]
        for part in (self.encoder, self.decoder, self):  # [shard_model] from inside
            fully_shard(part, mesh=mesh)


# 2. How to train: for every epoch, for every batch, one step down the gradient.
class InterruptibleStrategy(ModelParallelStrategy):
    """FSDP2; Ctrl-C waits for the end of a save."""

    def save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        hold_signals()  # [signal] an exit inside of a save torch takes for an error
        super().save_checkpoint(*args, **kwargs)
        release_signals()


def make_strategy(config: ShardingConfig) -> Strategy | str:
    """Return what deals the model out: FSDP2, or DeepSpeed by its name."""
    if config.strategy == "fsdp":  # [stage]
        # "fsdp" by its name would be the older FSDP1, for GPUs only. Without sizes the
        # ranks of a machine would share each image: tensor parallelism.
        return InterruptibleStrategy(config.world_size, tensor_parallel_size=1)
    if not config.use_cuda:
        why = "DeepSpeed needs a GPU"
    elif importlib.util.find_spec("deepspeed") is None:
        why = "not installed; pip install deepspeed"
    else:
        return config.strategy
    raise UsageError(f"--strategy deepspeed_stage_2: {why}, or take --strategy fsdp")


def make_trainer(config: ShardingConfig, run_dir: Path) -> pl.Trainer:
    """Return a Trainer, which has the loops."""
    # Unasked, it calls prepare_data on one process of each machine [download], shards
    # before configure_optimizers [optimizer], set_epoch on the sampler [shuffle],
    # train() and eval() [mode]; and for every batch [zero_grad], [backward], [step].
    # Rank 0 tells the others where it saves [folder]; LitDistributedMNIST deals out the
    # images [shard].
    best = ModelCheckpoint(  # [checkpoint] Every rank writes its own part.
        run_dir / "checkpoints", filename="{epoch}", monitor="val_loss", save_top_k=-1
    )
    best.FILE_EXTENSION = ".sharded"
    return pl.Trainer(
        accelerator="cuda" if config.use_cuda else "cpu",  # [device]
        devices=config.devices,
        num_nodes=config.num_nodes,
        strategy=make_strategy(config),
        deterministic=config.use_cuda,  # [deterministic]
        max_epochs=config.max_epochs,  # [epochs]
        limit_train_batches=config.limit_train_batches,  # [limit]
        limit_val_batches=config.limit_val_batches,
        limit_test_batches=config.limit_test_batches,
        log_every_n_steps=LOG_EVERY_N_STEPS,  # [log]
        logger=TensorBoardLogger(
            run_dir.parent, name="", version=run_dir.name, default_hp_metric=False
        ),
        callbacks=[
            TQDMProgressBar(refresh_rate=LOG_EVERY_N_STEPS),  # [progress]
            OwnSignals(),  # [signal]
            SeedRanks(config.seed),
            best,
        ],
    )


def consolidate_deepspeed(folder: Path, path: Path) -> None:
    """Write a sharded checkpoint of DeepSpeed into one file, as all lessons read it."""
    checkpoint = convert_zero_checkpoint_to_fp32_state_dict(folder, path)
    keys = ("state_dict", "hyper_parameters", "dataset", "epoch", "global_step")
    kept = {key: checkpoint[key] for key in (*keys, "pytorch-lightning_version")}
    write_checkpoint(path, kept)  # what is DeepSpeed's own would not load safely


# 3. How to evaluate: the mean loss over a loader, over all ranks.
# Nothing to write: the Trainer calls validation_step and test_step, in eval mode
# [mode], without gradients. sync_dist=True weights the ranks' means alike.


# 4. Do it.
def main(config: ShardingConfig, run_dir: Path) -> None:
    """Train, then test the weights that did best in validation."""
    pl.seed_everything(config.seed, verbose=False)  # [seed]
    model = LitShardedAutoEncoder(
        config.hidden_dim, config.latent_dim, config.learning_rate
    )
    data = LitDistributedMNIST(config)
    trainer = make_trainer(config, run_dir)
    trainer.fit(model, datamodule=data)
    best = Path(trainer.checkpoint_callback.best_model_path)
    last = best.with_name(f"epoch={config.max_epochs - 1}.sharded")
    trainer.test(model, datamodule=data, ckpt_path=best, weights_only=True)  # [load]
    if trainer.is_global_zero:
        to_file = consolidate if config.strategy == "fsdp" else consolidate_deepspeed
        # [consolidate] Lightning's own command is for FSDPStrategy alone: it fails on
        # folders of ModelParallelStrategy (KeyError: 'model').
        to_file(best, best.with_name("best.ckpt"))
        to_file(last, last.with_name("last.ckpt"))
        test_loss = trainer.callback_metrics["test_loss"].item()
        best_val_loss = trainer.checkpoint_callback.best_model_score.item()
        report(run_dir, data.dataset_name, best_val_loss, test_loss)


if __name__ == "__main__":
    run("lightning", "sharding", main)
