"""Run commands as a user does, in processes of their own."""

import os
import runpy
import subprocess
import sys
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).parents[1]

forkserver: Any = get_context("forkserver")
forkserver.set_forkserver_preload(["tests.warm"])


def start(module: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start `python -m module arguments` in the project's folder, as a job of a shell.

    It leads a process group of its own, to which a signal can be sent as a terminal
    sends Ctrl-C: to all processes in it.
    """
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Wait for a process: its exit status, stdout and stderr, free of tracebacks."""
    stdout, stderr = process.communicate(timeout=120)
    assert "Traceback" not in stderr, stderr
    return process.returncode, stdout, stderr


def run_module(
    module: str, arguments: tuple[str, ...], environment: dict[str, str], folder: Path
) -> None:
    """Be the process of `python -m module arguments`, with its output in two files."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        with (folder / name).open("wb") as file:
            os.dup2(file.fileno(), number)
    os.chdir(ROOT)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [module, *arguments]
    sys.modules.pop(module, None)  # it may be imported, but not as __main__
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def run_forked(
    module: str, *arguments: str, **environment: str
) -> tuple[int, str, str]:
    """Run a command as `run` does, in a process that has torch and Lightning already.

    That saves four seconds of imports. What is said or done while importing, and by
    whom a process was started, only `run` and `start` show.
    """
    with TemporaryDirectory() as folder:
        process = forkserver.Process(
            target=run_module,
            args=(module, arguments, {**os.environ, **environment}, Path(folder)),
        )
        process.start()
        process.join(120)
        assert process.exitcode is not None, f"{module} does not end"
        stdout, stderr = (
            Path(folder, name).read_text() for name in ("stdout", "stderr")
        )
    assert "Traceback" not in stderr, stderr
    return process.exitcode, stdout, stderr


def run(module: str, *arguments: str, **environment: str) -> tuple[int, str, str]:
    """Start a command and wait for it."""
    return finish(start(module, *arguments, **environment))
