"""A training in a fresh process that tells when its first step began, and its memory.

    python -m compare.bench.speed.probe plain_pytorch 1700000000.0 --max-epochs 1

The second argument is when the process was started. Nothing is imported here that the
half does not import itself.
"""

import importlib
import json
import re
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def peak() -> float:
    """Return the most MiB of memory that this process has had.

    On Linux not what `getrusage` says: that of a new process begins with the memory of
    the one that started it.
    """
    status = Path("/proc/self/status")
    if status.exists():
        (kib,) = re.findall(r"VmHWM:\s+(\d+) kB", status.read_text())
        return int(kib) / 2**10
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 2**10)


def main() -> None:
    """Train, and print what was measured."""
    half, started, *arguments = sys.argv[1:]
    before = time.time()
    lesson: Any = importlib.import_module(f"{half}.train")
    imported = time.time()
    measured = {"import": imported - before, "memory_imported": peak()}
    from shared.options.train import Parser  # the half has imported it

    config = Parser(half, lesson.TrainConfig).parse_config(arguments)
    lesson.torch.set_num_threads(config.threads)
    models = {"plain_pytorch": "PlainAutoEncoder", "lightning": "LitAutoEncoder"}
    model_class = getattr(lesson, models[half])
    training_step = model_class.training_step

    def first_step(self: Any, batch: Any, batch_idx: int) -> Any:
        measured["first_step"] = time.time() - float(started)
        model_class.training_step = training_step
        return training_step(self, batch, batch_idx)

    model_class.training_step = first_step
    with tempfile.TemporaryDirectory() as folder:
        lesson.main(config, Path(folder, "run"))
    measured["memory"] = peak()
    print(json.dumps({name: round(x, 3) for name, x in measured.items()}))


if __name__ == "__main__":
    main()
