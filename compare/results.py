"""What a run has left in its folder, as tensors that can be compared."""

from collections.abc import Iterator
from pathlib import Path

import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor


def read_results(run_dir: Path) -> dict[str, Tensor]:
    """Return the numbers that a finished run has left, by name.

    For every TensorBoard tag a table, (points, 2) of float64, of steps and values; for
    every weight in the last checkpoint the weight; and in one dimension of float64 all
    numbers of `optimizer`, its state, and of `best.ckpt`, the weights that did best in
    validation with their epoch and step.

    Raises:
        FileNotFoundError: the run has saved no checkpoint.
    """
    events = EventAccumulator(str(run_dir), size_guidance={"scalars": 0}).Reload()
    curves = {
        tag: torch.tensor(
            [[event.step, event.value] for event in events.Scalars(tag)],
            dtype=torch.float64,
        )
        for tag in events.Tags()["scalars"]
    }
    last, best = (
        torch.load(run_dir / "checkpoints" / name, "cpu", weights_only=True)
        for name in ("last.ckpt", "best.ckpt")
    )
    kept = [best["state_dict"], best["epoch"], best["global_step"]]
    return {
        **curves,
        **last["state_dict"],
        "optimizer": torch.cat([*numbers(last["optimizer_states"])]),
        "best.ckpt": torch.cat([*numbers(kept)]),
    }


def numbers(state: object) -> Iterator[Tensor]:
    """Yield every number in nested dicts and lists, as float64 of one dimension."""
    if isinstance(state, dict):
        state = list(state.values())
    if isinstance(state, list | tuple):
        for value in state:
            yield from numbers(value)
    elif isinstance(state, Tensor | int | float):
        yield torch.as_tensor(state, dtype=torch.float64).flatten()
