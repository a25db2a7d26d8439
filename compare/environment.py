"""What surrounds a run: versions, settings that change rounding, random numbers."""

import os
import platform
import random
import sys
import zlib

import numpy as np
import torch

from compare.tracefile import FORMAT, VERSION, Record


def header(device: torch.device) -> Record:
    """Describe the run for the first line of its trace.

    Args:
        device: where the first batch is.
    """
    return {
        "format": FORMAT,
        "version": VERSION,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "device": str(device),
        "threads": torch.get_num_threads(),
        "settings": {
            "deterministic": torch.are_deterministic_algorithms_enabled(),
            "matmul_precision": torch.get_float32_matmul_precision(),
            "cudnn_benchmark": torch.backends.cudnn.benchmark,
            "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        },
        "rank": int(os.environ.get("RANK", "0")),
        "world_size": int(os.environ.get("WORLD_SIZE", "1")),
        "command": sys.argv,
    }


def rng() -> dict[str, str]:
    """Give a fingerprint of each global random number generator, drawing from none."""
    numpy = np.random.get_state(legacy=False)["state"]
    states = {
        "torch": zlib.crc32(bytes(torch.get_rng_state().numpy())),
        "python": hash(random.getstate()[1]) & 0xFFFFFFFF,
        "numpy": zlib.crc32(bytes(numpy["key"]), numpy["pos"]),
    }
    if torch.cuda.is_initialized():
        states["cuda"] = zlib.crc32(bytes(torch.cuda.get_rng_state().numpy()))
    return {name: f"{state:08x}" for name, state in states.items()}


def precision(device: torch.device) -> str:
    """Say what autocast computes in on this device now, or "off"."""
    if not torch.is_autocast_enabled(device.type):
        return "off"
    return str(torch.get_autocast_dtype(device.type)).removeprefix("torch.")
