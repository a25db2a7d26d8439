"""Record a training run, without a change to its code, to find where two runs differ.

    python -m compare.trace --out a.trace -- my_loop.py --its-arguments
    python -m compare.trace --out b.trace -- -m my_package.my_port --its-arguments
    python -m compare.divergence a.trace b.trace

Under torchrun every rank writes its own file, a.rank0.trace and so on:

    torchrun --nproc-per-node 2 -m compare.trace --out a.trace -- my_loop.py

In code:

    with trace() as run:
        train()

Only what happens in this process and thread is seen. A Trainer that starts processes
by itself (strategy "ddp" without torchrun, "ddp_spawn") shows this one only. In a model
under torch.compile the layers cannot be seen: its batches, loss, gradient and weights
are recorded all the same, unless the compiled function contains the backward too. (It
warns that global hooks fire once more for the compiled module: that is expected here.)
What the file holds is described in compare/tracefile.py.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TextIO

import torch
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from compare import script
from compare.recorder import Recorder
from compare.tracefile import Record, Trace, from_lines, read, to_line


class Run:
    """A run being recorded. `lines` stays empty where the records go to a file."""

    def __init__(self, write: Callable[[Record], None] | None = None) -> None:
        self.lines: list[str] = []
        self.recorder = Recorder(write or self._keep)

    def _keep(self, record: Record) -> None:
        self.lines.append(to_line(record))

    def trace(self, source: str = "this run") -> Trace:
        """Give the records as a `Trace`, as if read from a file.

        Args:
            source: what to call the run in messages.
        """
        return from_lines(source, list(self.lines))


@contextmanager
def trace(out: Path | None = None) -> Iterator[Run]:
    """Record all training in the block.

    Args:
        out: the file to write to, a line at a time, so that a run that is killed
            leaves what was recorded; None keeps the records in memory.

    Yields:
        A `Run`; its `trace()` gives the records where `out` is None.

    Raises:
        OSError: the file cannot be written.
    """
    with ExitStack() as stack:
        run = Run(_writer(stack.enter_context(out.open("w"))) if out else None)
        recorder = run.recorder
        for handle in (
            register_module_forward_pre_hook(recorder.on_call),
            register_module_forward_hook(recorder.on_return),
            register_optimizer_step_pre_hook(recorder.before_step),
            register_optimizer_step_post_hook(recorder.after_step),
        ):
            stack.callback(handle.remove)
        stack.enter_context(_watched_backward(recorder))
        try:
            yield run
        except BaseException as error:
            exited = isinstance(error, SystemExit) and not error.code
            recorder.finish("finished" if exited else type(error).__name__)
            raise
        recorder.finish("finished")


def _writer(file: TextIO) -> Callable[[Record], None]:
    def write(record: Record) -> None:
        file.write(to_line(record) + "\n")
        file.flush()  # so that a killed run leaves all of it

    return write


@contextmanager
def _watched_backward(recorder: Recorder) -> Iterator[None]:
    """Wrap torch.autograd.backward, which Tensor.backward calls too."""
    original = torch.autograd.backward

    def backward(tensors: Any, *args: Any, **kwargs: Any) -> None:
        with recorder.on_backward(tensors):
            original(tensors, *args, **kwargs)

    torch.autograd.backward = backward
    try:
        yield
    finally:
        torch.autograd.backward = original


def rank_path(out: Path) -> Path:
    """Put the rank torchrun gave this process into the file's name, if it gave one."""
    rank = os.environ.get("RANK")
    return out if rank is None else out.with_name(f"{out.stem}.rank{rank}{out.suffix}")


def main() -> None:
    """Run a script as Python would, and record its training."""
    parser = argparse.ArgumentParser(
        prog="python -m compare.trace",
        usage="%(prog)s --out FILE -- (script.py | -m package.module) [arguments]",
        description="Record the training a script does, without changing it.",
        epilog="Then compare two runs: python -m compare.divergence a.trace b.trace",
    )
    parser.add_argument("--out", type=Path, required=True, help="file to write")
    split = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    out = rank_path(parser.parse_args(sys.argv[1:split]).out)
    command = sys.argv[split + 1 :]
    if not command:
        parser.error("name the script to run after --")
    try:
        script.check(command)
        out.write_text("")
    except (script.ScriptError, OSError) as error:
        parser.exit(2, f"error: {error}\n")
    with _summary(out), trace(out):
        script.run(command)


@contextmanager
def _summary(out: Path) -> Iterator[None]:
    """Say at the end, however it comes, what the file holds."""
    try:
        yield
    finally:
        recorded = read(out)
        if recorded.end["steps"]:
            counts = "{steps} steps, {evals} evaluation batches".format(**recorded.end)
            print(f"trace: {counts} in {out}", file=sys.stderr)
        else:
            print(
                "trace: no optimizer step was seen. Where training runs in processes of"
                " its own, start it by torchrun",
                file=sys.stderr,
            )


if __name__ == "__main__":
    main()
