"""Which of a run's processes this one is, what they agree on, and when one is gone.

A process's number is its rank. torchrun and srun put it into the environment; a Trainer
that starts its processes by itself sets LOCAL_RANK and NODE_RANK there.
"""

import os
import signal
import sys
import threading
import time
import traceback
from datetime import timedelta

import torch
import torch.distributed as dist

from shared.options.train import LOG_EVERY_N_STEPS
from shared.runtime.errors import UsageError
from shared.runtime.signals import signalled

GRACE = 3
"""Seconds in which the ranks that do not hang find out, when one of them has."""

gave_up = threading.Event()
"""Set when this rank waits for no other any more."""


def is_rank_0() -> bool:
    """Return whether this process makes the run's folder and speaks for all."""
    rank = os.environ.get("RANK") or os.environ.get("SLURM_PROCID")
    if rank:
        return rank == "0"
    return {os.environ.get(name, "0") for name in ("NODE_RANK", "LOCAL_RANK")} == {"0"}


def this_rank() -> str:
    """Return who speaks in an error: `rank 1: `, or nothing for the only process."""
    if dist.is_initialized() and dist.get_world_size() > 1:
        return f"rank {dist.get_rank()}: "
    rank = os.environ.get("RANK")
    return f"rank {rank}: " if rank and os.environ.get("WORLD_SIZE") != "1" else ""


def refuse_to_start_alone(num_nodes: int, devices: int, module: str) -> None:
    """See that a run of several processes has more than this one.

    Raises:
        UsageError: torchrun has not started it.
    """
    if num_nodes * devices == 1:
        return
    start = "start it with: torchrun"
    if num_nodes > 1:
        start = f"start it on each machine with: torchrun --nnodes {num_nodes}"
        start += " --node-rank N --master-addr HOST"
    raise UsageError(f"{start} --nproc-per-node {devices} -m {module}")


def set_timeout(seconds: int) -> None:
    """Wait no longer than this for another rank, from now on.

    Not from the start: the first to arrive waits while others still import torch, or
    download. torchtitan has the same two time-outs, `init` and `train`.
    """
    # torch 2.11 has it under its old name only.
    set_it = getattr(dist, "set_timeout", None) or dist.distributed_c10d._set_pg_timeout
    set_it(timedelta(seconds=seconds))


class Watchdog(threading.Thread):
    """Ends this rank when it hangs, and says where.

    The others notice: they wait for it no longer than their time-out, and say so to all
    (see `explain`). Without this, a rank that hangs would outlive them until torchrun
    kills it, half a minute later, or for ever.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)

    def run(self) -> None:
        """Look twice a second whether another rank has given up."""
        try:
            store = dist.distributed_c10d._get_default_store()
            others = {*range(dist.get_world_size())} - {dist.get_rank()}
            while not any(store.check([f"alive/{rank}"]) for rank in others):
                time.sleep(0.5)
        except (RuntimeError, ValueError):  # the store has ended, and the run with it
            return
        if gave_up.wait(GRACE):  # this rank is not the one that hangs
            return
        main = sys._current_frames()[threading.main_thread().ident or 0]
        at = traceback.extract_stack(main)[-1]
        where = f"{at.name}, line {at.lineno} of {at.filename}"
        print(f"\nerror: {this_rank()}hangs in {where}", file=sys.stderr, flush=True)
        os._exit(1)


def signalled_anywhere(step: int, device: torch.device) -> int:
    """Return the number of the held signal that waits on any rank, otherwise 0.

    All ranks have to ask at once: one that ends alone leaves the others in the middle
    of a step. As asking takes time, only every tenth step does; the others return 0.
    """
    if step % LOG_EVERY_N_STEPS:
        return 0
    own = torch.tensor(signalled(), device=device)
    all_numbers = [torch.zeros_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(all_numbers, own)
    told = {rank: int(number) for rank, number in enumerate(all_numbers) if number}
    if told and is_rank_0():
        ranks = ", ".join(map(str, told))
        name = signal.Signals(max(told.values())).name
        print(f"\nrank {ranks} was sent {name}: all ranks end here", file=sys.stderr)
    return max(told.values(), default=0)


def is_about_ranks(error: RuntimeError) -> bool:
    """Return whether an error says that another rank does not answer any more."""
    # gloo raises RuntimeErrors, which only their text tells apart.
    words = "gloo", "Application timeout caused pair closure"
    return isinstance(error, dist.DistError) or any(w in str(error) for w in words)


def explain(error: RuntimeError) -> str:
    """Return which ranks do not answer any more, and how this one has noticed.

    Every rank that can tells so to the store through which they once met; the others
    are those that hang or are gone.
    """
    gave_up.set()
    how = str(error).partition("] ")[2].partition(". ")[0] or str(error)
    if not dist.is_initialized():
        return f"the ranks did not meet ({how})"
    try:
        store = dist.distributed_c10d._get_default_store()
        store.set_timeout(timedelta(seconds=1))
        store.set(f"alive/{dist.get_rank()}", "")
        time.sleep(1)
        ranks = range(dist.get_world_size())
        gone = [str(rank) for rank in ranks if not store.check([f"alive/{rank}"])]
    except RuntimeError:  # the store was in the process of rank 0
        gone = ["0"]
    silent = f"rank {', '.join(gone)}" if gone else "another rank"
    return (
        f"no answer from {silent} ({how}); start again; the"
        " lesson distributed goes on with --ckpt-path last"
    )
