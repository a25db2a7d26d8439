"""Fixtures of all tests: a clean environment, and the options of a small run."""

import gc
import logging
import os
import random
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings

from shared.datasets.download import find_problems
from shared.options.train import Config as TrainConfig

FULL_DATA = Path(os.environ.get("DATA_DIR", "data"))

settings.register_profile("alone", database=None)  # runs at once share no folder
settings.load_profile("alone")


@pytest.fixture(autouse=True)
def clean_process() -> Iterator[None]:
    """Give every test, and the one after it, the process as it was."""
    environment = dict(os.environ)
    for leaked in ("PL_GLOBAL_SEED", "DATA_DIR", "RANK", "LOCAL_RANK", "WORLD_SIZE"):
        os.environ.pop(leaked, None)
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    threads = torch.get_num_threads()
    deterministic = torch.are_deterministic_algorithms_enabled()
    handlers = {number: signal.getsignal(number) for number in (2, 15)}
    log = logging.getLogger("pytorch_lightning")
    level = log.level
    torch.set_num_threads(1)
    yield
    log.setLevel(level)
    for number, handler in handlers.items():
        signal.signal(number, handler)
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])
    os.environ.clear()
    os.environ.update(environment)


@pytest.fixture(scope="module", autouse=True)
def hide_what_was_imported() -> Iterator[None]:
    """Hide half a million objects from the garbage collector, and from the trace.

    The trace looks among all objects that are not hidden for the models, to know the
    names of their parameters: a tenth of a second for each optimizer.
    """
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="session")
def mnist_dir() -> Path:
    """Return the folder of full MNIST, where DATA_DIR has it."""
    if find_problems("mnist", FULL_DATA):
        pytest.skip(f"no full MNIST in {FULL_DATA}: set DATA_DIR")
    return FULL_DATA


@pytest.fixture
def small(tmp_path: Path) -> TrainConfig:
    """Return the options of a run of a second, on real digits."""
    return replace(
        TrainConfig(),
        dataset="mnist-5k",
        data_dir=tmp_path / "data",
        output_dir=tmp_path / "output",
        max_epochs=2,
        accelerator="cpu",
        limit_train_batches=12,
        limit_val_batches=3,
    )
