"""The state of every generator of random numbers that a training may draw from."""

import random
from typing import Any

import numpy as np
import torch


def get_rng_states() -> dict[str, Any]:
    """Return the states, in types that a checkpoint may hold.

    Those of torch on the CPU and on every GPU, of numpy and of Python.
    """
    kind, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    # As int64: torch.distributed cannot send the uint32 that they are.
    keys = np.asarray(keys, np.int64)
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": (kind, torch.from_numpy(keys), position, has_gauss, gauss),
        "python": random.getstate(),
    }


def set_rng_states(states: dict[str, Any]) -> None:
    """Put all generators into the states that `get_rng_states` has returned.

    Those of GPUs that this machine does not have are left out.
    """
    torch.set_rng_state(states["torch"])
    for device, state in enumerate(states["cuda"][: torch.cuda.device_count()]):
        torch.cuda.set_rng_state(state, device)
    kind, keys, *rest = states["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
    random.setstate(states["python"])
