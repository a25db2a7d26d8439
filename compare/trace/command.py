"""Record a training run, so that `compare.divergence` can compare it with another.

In code, or for any script, from any folder, without editing it:

    with trace() as run:
        my_training_loop()

    python path/to/compare/trace --out a.trace -- my_loop.py --its-args
    python path/to/compare/trace --out b.trace -- -m my_package.train --its-args

With several processes start the trace inside them (`torchrun --nproc-per-node 2
path/to/compare/trace --out a.trace -- my_loop.py`): each rank writes a file of its own,
a.rank0.trace and so on. Ranks that a Trainer starts as scripts are recorded too. Forked
and spawned processes are not recorded, and neither are a loader's workers.

What is lost: a model that torch.compile made is seen as one layer, without the modes
of the layers inside; after `module.compile()` its batches are not seen at all.

The file: text in UTF-8, one JSON object a line, written as it happens, so that a crash
keeps what was recorded. Numbers are as Python's json writes them (NaN and Infinity
too). A step of a small model takes some 1,200 bytes, and 19 more per parameter tensor.

    line 1       format "training trace", version 3, python, command, rank
    start        torch, platform, device, threads, seed, matmul, deterministic,
                 trainer (the package whose loop it is), fingerprint (xxh3, blake2b or
                 sums: only equal ones can be compared)
    optimizer    before its first step, and again when its parameters change: before
                 (the number it had; numbers count these lines), name (its class),
                 settings (one per group); names, shapes, groups and tied names of its
                 parameters, weights
    buffers      names and shapes, when they change
    model        layers, as the first training batch met them: (...) has no parameters
    step         one per optimizer step: optimizer; batch, mode, precision, output, one
                 per forward; random; functions (losses of torch.nn.functional); loss
                 (one per backward); closure (norm of the gradient after each call);
                 gradient; lr (one per group); state (parameters with a state, and its
                 age); weights and buffers after the step; settings, if they changed
    evaluation   one per batch: after (steps done), batch, mode, precision, random,
                 output
    unseen       what: something that happened and could not be recorded
    end          steps, evaluations, error (None or the exception's name)

    batch        lists with one entry per tensor: hash (None: not seen), rows (a hash
                 that is the same for the same rows in any order), shape, dtype, mean,
                 norm, first (the first values), source (None, or how many steps ago a
                 model made it, and whether it was the same model)
    gradient, weights, buffers
                 hash (over all tensors), hashes (24 bits of each tensor's own hash, in
                 base64, four letters each; AAAA: there is no tensor), packed_norms (of
                 each tensor, float32 in base64), norm
    output       the same for the last layer with parameters, and that layer's class
    function     name, options, shape and prediction (hashes and norms), names and a
                 batch of its other arguments, autocast, value, spread (smallest and
                 largest prediction; for cross_entropy, by how much the classes' sum is
                 away from 1), ignored (number of targets left out by ignore_index)
    random       the states of the global generators before the forward; Python's and
                 NumPy's with their position, which is 624 before the first number
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import runpy
import signal
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from .recorder import Recorder
from .run import FORMAT, VERSION, Run
from .snapshot import Record


@contextmanager
def trace() -> Iterator[Run]:
    """Record what is trained inside the `with` block, in memory.

    Yields a Run, complete once the block is left. Set its `name` before you compare it:
    a comparison tells two runs apart by their names. Blocks cannot be nested.
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
    be opened; when it cannot be written later on, the rest is lost, with a message. A
    forked child writes nothing.
    """
    owner = os.getpid()
    with path.open("wb", buffering=0) as file:

        def write(record: Record) -> None:
            if os.getpid() != owner or file.closed:
                return
            try:
                file.write(json.dumps(record, separators=(",", ":")).encode() + b"\n")
            except OSError as error:
                file.close()
                lost = f"cannot write {path}: {error.strerror}; the rest is lost"
                print(f"trace: {lost}", file=sys.stderr)
                return
            written[record["kind"]] += 1
            if "OptimizedModule" in str(record.get("layers")):
                written["compiled"] += 1

        header = {"format": FORMAT, "version": VERSION, "kind": "header"}
        python = platform.python_version()
        write({**header, "python": python, "command": command, "rank": int(_rank())})
        recorder = Recorder(write)
        recorder.start()
        error: str | None = None
        try:
            yield
        except BaseException as exception:
            if not isinstance(exception, SystemExit) or exception.code:
                error = type(exception).__name__
            raise
        finally:
            recorder.stop()
            counts = {"steps": written["step"], "evaluations": written["evaluation"]}
            write({"kind": "end", **counts, "error": error})


def main(argv: list[str]) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="compare/trace",
        usage="%(prog)s --out FILE -- SCRIPT [ARGS]\n"
        "       %(prog)s --out FILE -- -m MODULE [ARGS]",
        description="Run a training script and record every step of it.",
    )
    parser.add_argument(
        "--out", metavar="FILE", required=True, type=Path, help="the file to write"
    )
    split = argv.index("--") if "--" in argv else len(argv)
    out: Path = parser.parse_args(argv[:split]).out
    command = argv[split + 1 :]
    _lead_path(command)
    if problem := _problem(command):
        parser.exit(2, f"error: {problem}\n")
    path = out
    if rank := _rank(""):
        path = out.with_name(f"{out.stem}.rank{rank}{out.suffix}")
    try:
        path.open("wb").close()
    except OSError as error:
        parser.exit(2, f"error: cannot write {path}: {error.strerror}\n")
    warnings.filterwarnings("ignore", r"Using `torch.compile\(module\)` when there are")
    # Ctrl-C raises KeyboardInterrupt in the script, as it does without us.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    written: Counter[str] = Counter()
    owner = os.getpid()
    try:
        with trace_to(path, command, written), _ranks_too(out.resolve()):
            _run(command)
    except (Exception, KeyboardInterrupt) as error:
        visible = error.with_traceback(_without_us(error.__traceback__))
        sys.excepthook(type(visible), visible, visible.__traceback__)
        return 130 if isinstance(error, KeyboardInterrupt) else 1  # as a shell says
    finally:
        if os.getpid() == owner:
            _say(path, written)
    return 0


def _rank(default: str = "0") -> str:
    return os.environ.get("RANK") or os.environ.get("LOCAL_RANK") or default


def _lead_path(command: list[str]) -> None:
    """Let sys.path begin as `python` would have it begin for this command."""
    is_safe = getattr(sys.flags, "safe_path", False)  # Python 3.10 has no such flag
    if command and not is_safe:
        module = command[0] == "-m"
        sys.path[0] = str(Path.cwd() if module else Path(command[0]).resolve().parent)


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
    if command[0] == "-m":
        sys.argv = command[1:]
        runpy.run_module(command[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = command
        runpy.run_path(str(Path(command[0]).resolve()), run_name="__main__")


@contextmanager
def _ranks_too(out: Path) -> Iterator[None]:
    """Record the other ranks that a Trainer starts: this script with a LOCAL_RANK."""
    start = subprocess.Popen.__init__

    def traced(self: Any, args: Any, *more: Any, **options: Any) -> None:
        rank = (options.get("env") or {}).get("LOCAL_RANK")
        if rank and isinstance(args, list) and args[0] == sys.executable:
            us = [sys.executable, str(Path(__file__).parent), "--out", str(out), "--"]
            args = us + args[1:]
        start(self, args, *more, **options)

    subprocess.Popen.__init__ = traced  # type: ignore[assignment]
    try:
        yield
    finally:
        subprocess.Popen.__init__ = start  # type: ignore[method-assign]


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
