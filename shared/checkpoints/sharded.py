"""Sharded checkpoints: a folder to which every process has written its own part.

Of torch.distributed.checkpoint, with Lightning's keys: `state_dict` and `optimizer_0`
are in the parts, all that is no tensor of a model or an optimizer is in META.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

from shared.checkpoints.whole_files import read_checkpoint, write_checkpoint

META = "meta.pt"
"""The file beside the parts, as Lightning names it."""


def consolidate(folder: Path, path: Path) -> None:
    """Write a sharded checkpoint of this run into one file, as all lessons read it.

    One process does so, without the others and without a model, and needs the memory
    for all of it. Take no folder from others: torch reads it by running its code.
    """
    with TemporaryDirectory() as temporary:  # torch's own conversion is not atomic
        whole = Path(temporary, path.name)
        dcp_to_torch_save(folder, whole)
        checkpoint = read_checkpoint(whole)
    meta = torch.load(folder / META, map_location="cpu", weights_only=True)
    state = by_number(checkpoint.pop("optimizer_0"))
    write_checkpoint(path, {**meta, **checkpoint, "optimizer_states": [state]})


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
