"""Train one step in a new process, and print what it took to get there, as JSON.

python -m compare.bench.first_step lightning.train mnist-5k output/first
"""

import json
import re
import resource
import sys
from importlib import import_module
from pathlib import Path
from time import process_time
from typing import Any


def main(module: str, dataset: Any, run_dir: str) -> dict[str, float]:
    """Run a half of `train`; return seconds of processor time, and bytes of memory."""
    half = import_module(module)
    took: dict[str, float] = {"import": process_time()}
    # Imported only now, when the time of the half's own imports is taken.
    from torch.optim.optimizer import register_optimizer_step_post_hook

    from shared.options.train import Config
    from shared.runtime.command import set_up_torch

    def after_step(*_: Any) -> None:
        took["first step"] = process_time()

    register_optimizer_step_post_hook(after_step)
    config = Config(
        dataset=dataset,
        accelerator="cpu",
        max_epochs=1,
        limit_train_batches=1,
        limit_val_batches=1,
    )
    set_up_torch(config)
    half.main(config, Path(run_dir))
    took["memory"] = peak_memory()
    return took


def peak_memory() -> int:
    """Return the most memory that this process has had at once, in bytes."""
    if sys.platform == "darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Not getrusage: on Linux, its peak of a child starts at what the parent has.
    status = Path("/proc/self/status").read_text()
    return 1024 * int(re.findall(r"VmHWM:\s*(\d+) kB", status)[0])


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
