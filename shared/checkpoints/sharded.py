"""Sharded checkpoints: a folder to which every process has written its own part.

The format is that of torch.distributed.checkpoint, with Lightning's keys: `state_dict`
and `optimizer_0` are in the parts, everything else is in META.
"""

import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

from shared.checkpoints.whole_files import read_checkpoint, write_checkpoint

# Every epoch replaces the folder of the last one, and torch warns each time.
warnings.filterwarnings("ignore", "Detected an existing checkpoint")

META = "meta.pt"
"""The file beside the parts, as Lightning names it."""


def write_sharded(folder: Path, checkpoint: dict[str, Any]) -> None:
    """Write a checkpoint into a folder: every process its part, rank 0 the rest.

    All processes have to call this together. Replaces what the folder has.

    Args:
        folder: the same on all ranks.
        checkpoint: what `get_state_dict` has returned under `state_dict` and
            `optimizer_0`, and what is no part of a model or an optimizer.

    Raises:
        OSError: the folder cannot be written.
    """
    parts = {name: checkpoint[name] for name in ("state_dict", "optimizer_0")}
    dcp.save(parts, checkpoint_id=folder)  # type: ignore[attr-defined]
    if dist.get_rank() == 0:
        meta = {name: value for name, value in checkpoint.items() if name not in parts}
        write_checkpoint(folder / META, meta)


def consolidate(sharded: Path, whole: Path) -> None:
    """Join each folder in `sharded` in a file in `whole`, as other lessons write it.

    Call this on one process only. It needs no model, but memory for a whole checkpoint.
    Take no folder from strangers: torch reads it by running its code.

    Raises:
        CheckpointError: a file cannot be written.
    """
    for folder in sorted(sharded.iterdir()):
        with TemporaryDirectory() as temporary:  # torch's own conversion is not atomic
            path = Path(temporary, folder.name)
            dcp_to_torch_save(folder, path)
            checkpoint = read_checkpoint(path)
        meta = torch.load(folder / META, map_location="cpu", weights_only=True)
        state = by_number(checkpoint.pop("optimizer_0"))
        complete = {**meta, **checkpoint, "optimizer_states": [state]}
        write_checkpoint(whole / folder.name, complete)


def by_number(state: dict[str, Any]) -> dict[str, Any]:
    """Return an optimizer's state as the optimizer has it: by number, not by name."""
    names = [name for group in state["param_groups"] for name in group["params"]]
    numbers = {name: number for number, name in enumerate(names)}
    groups = [
        {**group, "params": [numbers[name] for name in group["params"]]}
        for group in state["param_groups"]
    ]
    ordered = {numbers[name]: state["state"][name] for name in names}
    return {"state": ordered, "param_groups": groups}
