"""Change what happens between a batch and a step, with the loop written by hand.

    python -m plain_pytorch.optimization --accumulate-grad-batches 4

`make diff LESSON=optimization` shows this file beside lightning/optimization.py, which
does the same. Compared with train.py, the inside of the loop has moved out of it, into
`take_step` and `take_turns`.
"""

from itertools import islice
from math import inf
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_, clip_grad_value_, get_total_norm
from torch.optim import LBFGS, Adam, Optimizer
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from plain_pytorch.train import (
    PlainAutoEncoder,
    evaluate,
    log_metric,
    make_checkpoint,
    prepare,
    test,
)
from shared.checkpoints.whole_files import (
    load_weights,
    read_checkpoint,
    write_checkpoint,
)
from shared.data import Batch, MNISTData
from shared.options.optimization import OptimizationConfig
from shared.options.train import LOG_EVERY_N_STEPS
from shared.runtime.command import report, run
from shared.runtime.errors import require_finite


# 1. What to learn: the loss on one batch, and the optimizer.
class PlainAdam(PlainAutoEncoder):
    """One optimizer, with a learning rate for each part of the model."""

    def __init__(
        self,
        hidden_dim: int,
        latent_dim: int,
        learning_rate: float,
        decoder_learning_rate: float,
        warmup_steps: int,
    ) -> None:
        super().__init__(hidden_dim, latent_dim, learning_rate)
        self.hparams["decoder_learning_rate"] = decoder_learning_rate
        self.hparams["warmup_steps"] = warmup_steps

    def configure_optimizers(self) -> list[Optimizer]:  # type: ignore[override]
        lr = self.hparams["learning_rate"]
        decoder_lr = self.hparams["decoder_learning_rate"]
        return [
            Adam(
                [  # [groups]
                    {"params": self.encoder.parameters(), "lr": lr},
                    {"params": self.decoder.parameters(), "lr": decoder_lr},
                ]
            )
        ]

    def backward(self, loss: Tensor) -> Tensor:
        loss.backward()  # [backward]
        grads = [weight.grad for weight in self.parameters() if weight.grad is not None]
        return get_total_norm(grads)  # [grad_norm] before it is clipped


class PlainLBFGS(PlainAdam):
    """An optimizer that computes the loss many times to find one step."""

    def configure_optimizers(self) -> list[Optimizer]:  # type: ignore[override]
        lr = self.hparams["learning_rate"]
        return [LBFGS(self.parameters(), lr, line_search_fn="strong_wolfe")]


class PlainTwoAdams(PlainAdam):
    """An optimizer for each part of the model: they take turns on every batch."""

    def configure_optimizers(self) -> list[Optimizer]:  # type: ignore[override]
        lr = self.hparams["learning_rate"]
        decoder_lr = self.hparams["decoder_learning_rate"]
        return [
            Adam(self.encoder.parameters(), lr),
            Adam(self.decoder.parameters(), decoder_lr),
        ]


MODELS = {"adam": PlainAdam, "lbfgs": PlainLBFGS, "two": PlainTwoAdams}
Pass = tuple[Tensor, Tensor]
"""What one forward and backward has computed: the loss, the norm of the gradient."""


# 2. How to train: for every epoch, for every batch, one step down the gradient.
def fit(
    model: PlainAdam, data: MNISTData, config: OptimizationConfig, run_dir: Path
) -> tuple[int, float]:
    """Train, validate after every epoch; return log_step and the best val_loss."""
    # [download] [deterministic]
    train_loader, val_loader = prepare(model, data, config)
    optimizers = model.configure_optimizers()
    limit = config.limit_train_batches  # [limit]
    num_batches = min(limit, len(train_loader)) if limit else len(train_loader)
    # The steps of all optimizers, and, for the curves, the batches that had any.
    global_step, log_step, best_val_loss = 0, 0, inf
    with (
        SummaryWriter(run_dir) as writer,  # [log]
        tqdm(total=num_batches) as bar,  # [progress]
    ):
        for epoch in range(config.max_epochs):  # [epochs]
            train_loader.sampler.set_epoch(epoch)  # [shuffle] anew in every epoch
            model.train()  # [mode]
            loss_sum, num_images = torch.zeros(()), 0
            bar.reset()
            bar.set_description(f"Epoch {epoch}")
            for batch_idx, batch in enumerate(islice(train_loader, num_batches)):
                if config.use_cuda:
                    batch = [tensor.cuda() for tensor in batch]  # [device]
                full = (batch_idx + 1) % config.accumulate_grad_batches == 0
                is_last = full or batch_idx + 1 == num_batches  # [accumulate]
                if config.optimizer == "two":
                    passes = take_turns(
                        model, optimizers, batch, batch_idx, global_step
                    )
                else:
                    (optimizer,) = optimizers
                    passes = take_step(
                        model, optimizer, batch, batch_idx, is_last, global_step, config
                    )
                for loss, _ in passes:  # LBFGS makes many of a step: each one counts
                    loss_sum = loss_sum + loss * len(batch[0])  # [mean]
                    num_images += len(batch[0])
                bar.update()
                if not is_last:
                    continue
                if (log_step + 1) % LOG_EVERY_N_STEPS == 0:
                    loss, grad_norm = passes[-1]  # what self.log keeps
                    log_metric(writer, "train_loss", loss.item(), log_step, epoch)
                    writer.add_scalar("grad_norm", grad_norm.item(), log_step)
                    bar.set_postfix(train_loss=loss.item(), refresh=False)
                log_step += 1
                global_step += len(optimizers)

            limit = config.limit_val_batches
            val_loss = evaluate(model, model.validation_step, val_loader, limit)
            require_finite("validation loss", val_loss, global_step)  # [finite]
            train_loss = (loss_sum.cpu() / num_images).item()
            log_metric(writer, "val_loss", val_loss, log_step - 1, epoch)
            log_metric(writer, "train_loss_epoch", train_loss, log_step - 1, epoch)
            bar.set_postfix(train_loss=train_loss, val_loss=val_loss)
            # [checkpoint] with the keys of Lightning's
            checkpoint = make_checkpoint(model, optimizers[0], data, epoch, global_step)
            checkpoint["optimizer_states"] = [one.state_dict() for one in optimizers]
            if val_loss < best_val_loss:
                best_val_loss = val_loss
                write_checkpoint(run_dir / "checkpoints" / "best.ckpt", checkpoint)
            write_checkpoint(run_dir / "checkpoints" / "last.ckpt", checkpoint)
    return log_step, best_val_loss


def take_step(
    model: PlainAdam,
    optimizer: Optimizer,
    batch: Batch,
    batch_idx: int,
    is_last: bool,
    global_step: int,
    config: OptimizationConfig,
) -> list[Pass]:
    """Add a batch to the gradient; step, if it is the last one of its window."""
    passes: list[Pass] = []

    def closure() -> float:  # [closure] Adam calls it once, LBFGS as often as it likes
        loss = model.training_step(batch, batch_idx)
        require_finite("training loss", loss.item(), global_step)  # [finite]
        if batch_idx % config.accumulate_grad_batches == 0:
            optimizer.zero_grad()  # [zero_grad] before the first batch of a window
        # [accumulate] Lightning divides a short last window by the full length, too.
        grad_norm = model.backward(loss / config.accumulate_grad_batches)
        passes.append((loss.detach(), grad_norm))
        if is_last and config.gradient_clip_val:  # [clip] once a window
            by_norm = config.gradient_clip_algorithm == "norm"
            clip = clip_grad_norm_ if by_norm else clip_grad_value_
            clip(model.parameters(), config.gradient_clip_val)
        return loss.item()

    if not is_last:
        closure()
        return passes
    for group in optimizer.param_groups:  # [warmup] before the first step, too
        full_rate = group.setdefault("initial_lr", group["lr"])
        group["lr"] = full_rate * min(1, (global_step + 1) / config.warmup_steps)
    optimizer.step(closure)  # [step]
    return passes


def take_turns(
    model: PlainAdam,
    optimizers: list[Optimizer],
    batch: Batch,
    batch_idx: int,
    global_step: int,
) -> list[Pass]:
    """Step with one optimizer after the other, each on a loss of its own."""
    passes: list[Pass] = []
    for turn, optimizer in enumerate(optimizers):  # [two]
        loss = model.training_step(batch, batch_idx)
        require_finite("training loss", loss.item(), global_step + turn)  # [finite]
        model.zero_grad()  # [zero_grad] of both parts: each backward reaches both
        passes.append((loss.detach(), model.backward(loss)))
        optimizer.step()  # [step]
    return passes


# 3. How to evaluate: the mean loss over a loader, weighted by batch size.
# Nothing changes: `evaluate` and `test` are those of train.py.


# 4. Do it.
def main(config: OptimizationConfig, run_dir: Path) -> None:
    """Train, then test the weights that did best in validation."""
    torch.manual_seed(config.seed)  # [seed] right before the weights are drawn
    model = MODELS[config.optimizer](
        config.hidden_dim,
        config.latent_dim,
        config.learning_rate,
        config.decoder_learning_rate or config.learning_rate,
        config.warmup_steps,
    )
    data = MNISTData(config)
    log_step, best_val_loss = fit(model, data, config, run_dir)
    best = run_dir / "checkpoints" / "best.ckpt"
    load_weights(model, read_checkpoint(best), best)
    test_loss = test(model, data, config, run_dir, log_step)
    report(run_dir, data.dataset_name, best_val_loss, test_loss)


if __name__ == "__main__":
    run("plain_pytorch", "optimization", main)
