"""Read the files of a finished run as tensors that can be compared."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from shared.checkpoints.whole_files import read_checkpoint


def read_results(run_dir: Path) -> dict[str, Tensor]:
    """Return the numbers that a finished run has left, by name.

    For every TensorBoard tag a table, (points, 2) of float64, of steps and values; the
    pixels of every picture in TensorBoard, (height, width, 3) of uint8; and what
    `read_training` or, of a run that trains nothing, `read_evaluation` returns.

    Raises:
        CheckpointError: a checkpoint is damaged.
    """
    everything = {"scalars": 0, "images": 0}
    events = EventAccumulator(str(run_dir), size_guidance=everything).Reload()
    curves = {
        tag: torch.tensor(
            [[event.step, event.value] for event in events.Scalars(tag)],
            dtype=torch.float64,
        )
        for tag in events.Tags()["scalars"]
        if tag != "epoch"  # Lightning adds it: the epoch of each step
    }
    pictures = {
        f"{tag}, step {event.step}": torch.from_numpy(
            np.array(Image.open(io.BytesIO(event.encoded_image_string)))
        )
        for tag in events.Tags()["images"]
        for event in events.Images(tag)
    }
    evaluated = (run_dir / "embeddings.npz").exists()
    saved = read_evaluation(run_dir) if evaluated else read_training(run_dir)
    return {**curves, **pictures, **saved, **read_texts(run_dir)}


def read_evaluation(run_dir: Path) -> dict[str, Tensor]:
    """Return the arrays of embeddings.npz, and the pixels of every PNG file."""
    with np.load(run_dir / "embeddings.npz") as arrays:
        embeddings = {name: torch.from_numpy(arrays[name]) for name in arrays}
    pictures = {
        path.name: torch.from_numpy(np.array(Image.open(path)))
        for path in sorted(run_dir.glob("*.png"))
    }
    return {**embeddings, **pictures}


def read_training(run_dir: Path) -> dict[str, Tensor]:
    """Return every weight of the last checkpoint, and a row for each file beside it.

    In one dimension of float64 all numbers of `optimizer`, its state, and of each other
    checkpoint, such as `best.ckpt`, under its name, the weights with epoch and step.
    """
    files = sorted((run_dir / "checkpoints").glob("*.ckpt"))
    saved = {path.name: read_checkpoint(path) for path in files}
    last = saved.pop("last.ckpt", None)
    weights = last["state_dict"] if last else {}
    states = {"optimizer": last["optimizer_states"]} if last else {}
    for name, best in saved.items():
        states[name] = [best["state_dict"], best["epoch"], best["global_step"]]
    return {
        **weights,
        **{name: torch.cat([*numbers(state)]) for name, state in states.items()},
    }


def read_texts(run_dir: Path) -> dict[str, Tensor]:
    """Return the bytes of what the lessons under_the_hood and loggers write as text."""
    paths = [run_dir / "hooks.txt", run_dir / "csv" / "metrics.csv"]
    return {
        path.name: torch.tensor([*path.read_bytes()]) for path in paths if path.exists()
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
