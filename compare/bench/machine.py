"""What a measurement was made on."""

import os
import platform
import re
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch


def cpu_name() -> str:
    """Return what this machine's processor calls itself."""
    info = Path("/proc/cpuinfo")
    names = (
        re.findall(r"model name\s*: (.+)", info.read_text()) if info.exists() else []
    )
    return names[0] if names else platform.processor()


def describe(use_cuda: bool) -> dict[str, Any]:
    """Return date, machine and versions, and how busy the machine was beforehand."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "device": torch.cuda.get_device_name() if use_cuda else "cpu",
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "versions": {
            "Python": platform.python_version(),
            "torch": torch.__version__,
            "pytorch-lightning": version("pytorch-lightning"),
        },
    }
