"""Run commands as a user does, in processes of their own."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


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


def run(module: str, *arguments: str, **environment: str) -> tuple[int, str, str]:
    """Start a command and wait for it."""
    return finish(start(module, *arguments, **environment))
