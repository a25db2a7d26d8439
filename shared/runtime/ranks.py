"""The processes of a run: the number of this one, and those that no longer answer.

A process's number is its rank. torchrun and srun put it into the environment; a Trainer
that starts its processes by itself sets LOCAL_RANK and NODE_RANK there.
"""

import os
import socket
import time
from datetime import timedelta
from typing import Any

import torch.distributed as dist

from shared.runtime.errors import UsageError, UserError


def is_rank_0() -> bool:
    """Return whether this process makes the run's folder and speaks for all."""
    rank = os.environ.get("RANK") or os.environ.get("SLURM_PROCID")
    if rank:
        return rank == "0"
    return {os.environ.get(name, "0") for name in ("NODE_RANK", "LOCAL_RANK")} == {"0"}


def this_rank() -> str:
    """Return the start of an error message: `rank 1: `, or "" for the only process."""
    if dist.is_initialized() and dist.get_world_size() > 1:
        return f"rank {dist.get_rank()}: "
    rank = os.environ.get("RANK")
    return f"rank {rank}: " if rank and os.environ.get("WORLD_SIZE") != "1" else ""


def check_launch(world_size: int, launcher: str) -> None:
    """Check that as many processes were started as the options say.

    Args:
        world_size: how many there should be.
        launcher: the command that starts them; empty if they need none.

    Raises:
        UsageError: there are more or fewer; each would train alone.
    """
    started = os.environ.get("WORLD_SIZE")
    if started is None and launcher:
        raise UsageError(f"start it with: {launcher}")
    if started and int(started) != world_size:
        raise UsageError(
            f"{started} processes were started for a run of {world_size}: give as many"
            " --devices, or take the lesson distributed, which is the one for several"
        )


def is_about_ranks(error: RuntimeError) -> bool:
    """Return whether an error says that another rank no longer answers."""
    # gloo raises RuntimeErrors, which only their text tells apart.
    words = "gloo", "Application timeout caused pair closure"
    return isinstance(error, dist.DistError) or any(w in str(error) for w in words)


def explain(error: RuntimeError) -> str:
    """Return which ranks no longer answer, and how this one has noticed.

    Every rank that still runs notes so in the store in which they met; the others hang
    or are gone. Takes up to four seconds.
    """
    how = str(error).partition("] ")[2].partition(". ")[0] or str(error)
    if not dist.is_initialized():
        return f"the ranks did not meet ({how})"
    address = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    timeout = timedelta(seconds=2)
    try:
        socket.create_connection(address, timeout.seconds).close()
        store = dist.TCPStore(*address, timeout=timeout)  # type: ignore[attr-defined]
        store.set(f"alive/{dist.get_rank()}", "")
        time.sleep(1)
        ranks = range(dist.get_world_size())
        gone = [str(rank) for rank in ranks if not store.check([f"alive/{rank}"])]
    except (OSError, RuntimeError):  # the store was in the process of rank 0
        gone = ["0"]
    silent = f"rank {', '.join(gone)}" if gone else "another rank"
    return (
        f"no answer from {silent} ({how}): start again; the lesson cluster goes on with"
        " the same --run-dir"
    )


def of_all_ranks(value: Any) -> list[Any]:
    """Return the values of all ranks, on each of them. All ranks have to call this."""
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def of_this_rank(values: list[Any]) -> Any:
    """Return this rank's part of what `of_all_ranks` has returned.

    Raises:
        UserError: there were more or fewer ranks then.
    """
    if len(values) != dist.get_world_size():
        raise UserError(
            f"last.ckpt is of a run of {len(values)} processes, and these are"
            f" {dist.get_world_size()}: start as many, or take a new --run-dir"
        )
    return values[dist.get_rank()]
