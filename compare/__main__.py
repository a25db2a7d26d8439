"""Run both halves of a lesson with the same options, and compare what they computed.

    python -m compare train --max-epochs 1

The exit status is 0 when all numbers are equal to the last bit and 1 when some are not.
"""

import importlib
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from tabulate import tabulate

from compare.parity.results import read_hooks, read_results
from compare.parity.table import compare_results
from shared.checkpoints.trained import newest_best
from shared.options.checkpoint import CheckpointConfig
from shared.options.cli import KEYS
from shared.options.debugging import DebuggingConfig
from shared.options.distributed import RanksConfig
from shared.options.evaluate import EvaluateConfig
from shared.options.train import Config, Parser
from shared.options.transfer import TransferConfig
from shared.runtime.command import config_class, one_line_errors
from shared.runtime.errors import UsageError
from shared.runtime.run_dir import new_run_dir
from shared.runtime.signals import exit_on_signals

ROOT = Path(__file__).parents[1]
HALVES = ("plain_pytorch", "lightning")


def run_half(half: str, lesson: str, config: Config, output_dir: Path) -> float:
    """Run one half in a process of its own; return its wall time in seconds.

    A half that fails has said why, and ends this process with its exit status.
    """
    launcher = ["-m"]
    if half == "plain_pytorch" and config.world_size > 1:  # a Trainer does it itself
        ranks = f"--nproc-per-node={config.world_size}"
        launcher = ["-m", "torch.distributed.run", "--standalone", ranks, "-m"]
    # Both halves are below it, as for TensorBoard.
    arguments = replace(config, output_dir=output_dir).to_arguments()
    print(f"--- {half}", flush=True)
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *launcher, f"{half}.{lesson}", *arguments]
    )
    try:
        status = process.wait()
    except SystemExit:  # a signal: the half ends too, and says what it has saved
        process.terminate()
        process.wait()
        raise
    if status:
        sys.exit(status if status > 0 else 128 - status)
    return time.perf_counter() - start


def main() -> int:
    """Run both halves, print the table, and return the exit status."""
    lesson, *arguments = sys.argv[1:] or ["train"]
    if lesson.startswith("-"):
        lesson, arguments = "train", sys.argv[1:]
    lessons = sorted(path.stem for path in (ROOT / "lightning").glob("[!_]*.py"))
    if lesson not in lessons:
        raise UsageError(f"no lesson {lesson}: try one of {', '.join(lessons)}")
    twin = importlib.import_module(f"plain_pytorch.{lesson}")
    if lesson == "cli":
        with one_line_errors(KEYS):
            config = twin.parse(arguments or ["fit"])
    else:
        parser = Parser(f"python -m compare {lesson}", config_class(twin.main))
        config = parser.parse_config(arguments)
    if isinstance(config, DebuggingConfig) and config.fast_dev_run:
        raise UsageError("--fast-dev-run leaves no files, and so nothing to compare")
    if isinstance(config, EvaluateConfig) and config.ckpt_path is None:
        # The halves would look for it among their own runs, which are below run_dir.
        config = replace(config, ckpt_path=newest_best(config.output_dir))
    if isinstance(config, TransferConfig):
        config = config.resolved()
    if isinstance(config, CheckpointConfig) and config.ckpt_path:
        raise UsageError("--ckpt-path: both halves would go on in the same folder")
    if isinstance(config, RanksConfig) and config.num_nodes > 1:
        raise UsageError("--num-nodes: both halves run on this machine")
    run_dir = new_run_dir(config.output_dir / "compare" / lesson)
    times = [run_half(half, lesson, config, run_dir) for half in HALVES]
    run_dirs = [run_dir / half / lesson / "version_0" for half in HALVES]
    results = [read_results(path) | read_hooks(path) for path in run_dirs]
    rows = compare_results(*results)
    table = [
        *(row[:-1] for row in rows),
        ("wall time, s", *(f"{seconds:.1f}" for seconds in times), ""),
    ]
    print(f"\nThe runs are in {run_dir}\n")
    headers = ["", *HALVES, "largest difference"]
    print(tabulate(table, headers, disable_numparse=True))
    same = all(row.same for row in rows)
    verdict = "same" if same else "different"
    if sys.stdout.isatty():
        verdict = f"\033[{32 if same else 31}m{verdict}\033[0m"
    print(verdict)
    return 0 if same else 1


if __name__ == "__main__":
    exit_on_signals()
    with one_line_errors():
        sys.exit(main())
