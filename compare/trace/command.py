"""Record a training run, so that `compare.divergence` can compare it with another.

In code, or for any script, without editing it, as `coverage run` does:

    with trace() as run:
        my_training_loop()

    python -m compare.trace --out a.trace -- my_loop.py --its-args
    python -m compare.trace --out b.trace -- -m my_package.train --its-args

With several processes start the trace inside them (`torchrun --nproc-per-node 2 -m
compare.trace --out a.trace -- my_loop.py`): each rank writes a file of its own,
a.rank0.trace and so on. Processes that a script starts by itself are not recorded:
neither a loader's workers nor the other ranks of a Trainer that launches them.

What is lost: a model that torch.compile made is seen as one layer, without the modes
of the layers inside; after `module.compile()` its batches are not seen at all.

The file: text in UTF-8, one JSON object a line, written as it happens, so that a crash
keeps what was recorded. Numbers are as Python's json writes them (NaN and Infinity
too). A step of a small model takes some 600 bytes, and 8 more per parameter tensor.

    line 1       format "training trace", version 1, python, command, rank
    start        torch, platform, device, threads, seed, matmul, deterministic
    optimizer    at its first step: optimizer (its number), class, settings (one per
                 group), names and shapes of its parameters, weights (before the step)
    model        layers, as the first training batch met them
    step         one per optimizer step: step (from 0), optimizer, batch (one per
                 forward), mode, precision, random, loss (one per backward),
                 gradient, lr (one per group), weights (after the step)
    evaluation   one per batch: after (steps done), batch, mode, precision, random,
                 output (of the last layer with parameters)
    end          steps, evaluations, error (None or the exception's name)

    batch        hash, bag (the same for the same rows in any order), shape, mean:
                 lists with one entry for each tensor
    gradient, weights, output
                 hash (over all tensors), parts (24 bits of each tensor's own hash, in
                 base64, four letters each), norm
    random       the states of the global generators, before the forward
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import runpy
import signal
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from compare.trace.recorder import Recorder
from compare.trace.run import FORMAT, VERSION, Run
from compare.trace.snapshot import Record


@contextmanager
def trace() -> Iterator[Run]:
    """Record what is trained inside the `with` block, in memory.

    Yields a Run, complete once the block is left. Blocks cannot be nested.
    """
    run = Run("run")
    recorder = Recorder(run.add)
    recorder.start()
    try:
        yield run
    finally:
        recorder.stop()


@contextmanager
def trace_to(path: Path, command: list[str], written: Counter[str]) -> Iterator[None]:
    """Record what is trained inside the `with` block to a file, as it happens.

    Counts in `written` the records by their kind. Raises OSError when the file cannot
    be written.
    """
    with path.open("wb", buffering=0) as file:

        def write(record: Record) -> None:
            file.write(json.dumps(record, separators=(",", ":")).encode() + b"\n")
            written[record["kind"]] += 1
            if "OptimizedModule" in str(record.get("layers")):
                written["compiled"] += 1

        header = {"format": FORMAT, "version": VERSION, "kind": "header"}
        rank = int(os.environ.get("RANK", 0))
        python = platform.python_version()
        write({**header, "python": python, "command": command, "rank": rank})
        recorder = Recorder(write)
        recorder.start()
        error: str | None = None
        try:
            yield
        except BaseException as exception:
            error = type(exception).__name__
            raise
        finally:
            recorder.stop()
            counts = {"steps": written["step"], "evaluations": written["evaluation"]}
            write({"kind": "end", **counts, "error": error})


def main(argv: list[str]) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m compare.trace",
        usage="%(prog)s --out FILE -- SCRIPT [ARGS] | -- -m MODULE [ARGS]",
        description="Run a training script and record every step of it.",
    )
    parser.add_argument("--out", required=True, type=Path, help="the file to write")
    split = argv.index("--") if "--" in argv else len(argv)
    path: Path = parser.parse_args(argv[:split]).out
    command = argv[split + 1 :]
    if problem := _problem(command):
        parser.exit(2, f"error: {problem}\n")
    if "RANK" in os.environ:
        path = path.with_name(f"{path.stem}.rank{os.environ['RANK']}{path.suffix}")
    try:
        path.touch()
    except OSError as error:
        parser.exit(2, f"error: cannot write {path}: {error.strerror}\n")
    warnings.filterwarnings("ignore", r"Using `torch.compile\(module\)` when there are")
    # Ctrl-C raises KeyboardInterrupt in the script, as it does without us.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    written: Counter[str] = Counter()
    try:
        with trace_to(path, command, written):
            _run(command)
    except (Exception, KeyboardInterrupt) as error:
        visible = error.with_traceback(_without_us(error.__traceback__))
        sys.excepthook(type(visible), visible, visible.__traceback__)
        return 130 if isinstance(error, KeyboardInterrupt) else 1  # as a shell says
    finally:
        _say(path, written)
    return 0


def _problem(command: list[str]) -> str | None:
    """Say what is wrong with a command before anything is run."""
    if not command or command == ["-m"]:
        return "say what to run after --, as in: --out a.trace -- my_loop.py --its-args"
    if command[0] != "-m":
        return None if Path(command[0]).exists() else f"there is no file {command[0]}"
    try:
        found = importlib.util.find_spec(command[1])
    except ModuleNotFoundError:
        found = None
    return None if found else f"there is no module {command[1]}"


def _run(command: list[str]) -> None:
    """Run a script or a module as `python` would: sys.argv, sys.path, __main__."""
    if command[0] == "-m":  # the current folder leads sys.path already
        sys.argv = command[1:]
        runpy.run_module(command[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = command
        script = Path(command[0]).resolve()
        sys.path[0] = str(script.parent)
        runpy.run_path(str(script), run_name="__main__")


def _without_us(traceback: TracebackType | None) -> TracebackType | None:
    """Leave out the frames above the script's own: they are not the user's."""
    ours = {__file__, runpy.__file__, "<frozen runpy>"}
    while traceback and traceback.tb_frame.f_code.co_filename in ours:
        traceback = traceback.tb_next
    return traceback


def _say(path: Path, written: Counter[str]) -> None:
    seen = f"{written['step']} steps and {written['evaluation']} evaluation batches"
    print(f"trace: {seen} in {path}", file=sys.stderr)
    if written["compiled"]:
        lost = "a compiled model was recorded as one layer, its inside was not seen"
        print(f"trace: {lost}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
