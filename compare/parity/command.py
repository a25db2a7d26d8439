"""Run both halves of a lesson with the same options, and compare what they computed.

    python -m compare train --max-epochs 1

The exit status is 0 when all numbers are equal to the last bit, 1 when some are not or
a half has failed, and 2 for a wrong command line.
"""

import importlib
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import get_type_hints

from tabulate import tabulate

from compare.parity.results import read_results
from compare.parity.table import compare_results
from shared.options.distributed import Config as RanksConfig
from shared.runtime.command import (
    config_class,
    parse_config,
    to_arguments,
    user_errors,
)
from shared.runtime.errors import UsageError
from shared.runtime.run_dir import new_run_dir
from shared.runtime.signals import exit_on_signals

ROOT = Path(__file__).parents[2]
HALVES = ("plain_pytorch", "lightning")


def main() -> None:
    """Run both halves, print the table, and exit."""
    exit_on_signals()
    with user_errors():
        lesson, arguments = split(sys.argv[1:])
        plain = importlib.import_module(f"plain_pytorch.{lesson}")
        if "config" in get_type_hints(plain.main):
            program = f"python -m compare {lesson}"
            options = config_class(plain.main)
            config = parse_config(options, program, __doc__, arguments)
            config = config.for_comparison()
            run_dir = new_run_dir(config.output_dir / lesson)
            folders, times = [run_dir / half for half in HALVES], []
            for half, folder in zip(HALVES, folders, strict=True):
                arguments = to_arguments(replace(config, run_dir=folder))
                devices = config.devices if isinstance(config, RanksConfig) else 0
                times.append(run_half(half, lesson, arguments, devices))
        else:  # the lesson cli parses its command line itself
            plain.parse(arguments)  # --help or a wrong key ends this process
            run_dir = new_run_dir(Path("output", lesson))
            arguments = [*arguments, f"--output_dir={run_dir}"]
            folders = [run_dir / half / "version_0" for half in HALVES]
            times = [run_half(half, lesson, arguments) for half in HALVES]
        rows = compare_results(*map(read_results, folders))
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
    sys.exit(0 if same else 1)


def split(arguments: list[str]) -> tuple[str, list[str]]:
    """Return the lesson, by default `train`, and its options.

    Raises:
        UsageError: there is no such lesson.
    """
    if not arguments or arguments[0].startswith("-"):
        return "train", arguments
    lesson, *options = arguments
    lessons = sorted(path.stem for path in (ROOT / "lightning").glob("[!_]*.py"))
    if lesson not in lessons:
        raise UsageError(f"no lesson {lesson}: try one of {', '.join(lessons)}")
    return lesson, options


def run_half(half: str, lesson: str, arguments: list[str], devices: int = 0) -> float:
    """Run one half in a process of its own; return its wall time in seconds.

    A half that fails has printed why, and ends this process with its exit status.

    Args:
        half: the name of its folder.
        lesson: the name of the lesson.
        arguments: the command line.
        devices: number of processes of a lesson that needs torchrun, otherwise 0.
    """
    launcher = ["-m"]
    if half == "plain_pytorch" and devices:  # a Trainer starts its processes itself
        ranks = f"--nproc-per-node={devices}"
        launcher = ["-m", "torch.distributed.run", "--standalone", ranks, "-m"]
    print(f"--- {half}", flush=True)
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *launcher, f"{half}.{lesson}", *arguments]
    )
    try:
        status = process.wait()
    except SystemExit:  # Ctrl-C: the half ends too, and says what it has saved
        process.terminate()
        process.wait()
        raise
    if status:
        sys.exit(status if status > 0 else 128 - status)
    return time.perf_counter() - start
