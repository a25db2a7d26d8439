"""Run a script or a module inside this process, the way Python would."""

import importlib.util
import runpy
import sys
from pathlib import Path


class ScriptError(Exception):
    """There is nothing to run; its text is one line for the user."""


def check(arguments: list[str]) -> None:
    """See that there is something to run before anything is set up.

    Args:
        arguments: `script.py ...` or `-m package.module ...`.

    Raises:
        ScriptError: no such script or module.
    """
    if arguments[0] != "-m":
        if not Path(arguments[0]).is_file():
            raise ScriptError(f"no such script: {arguments[0]}")
        return
    if len(arguments) < 2:
        raise ScriptError("-m needs the name of a module")
    try:
        found = importlib.util.find_spec(arguments[1])
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise ScriptError(f"no module named {arguments[1]}; is this the right folder?")


def run(arguments: list[str]) -> None:
    """Run it as `__main__`, with its own sys.argv and sys.path[0].

    Whatever it raises comes through, SystemExit too.

    Args:
        arguments: as for `check`.
    """
    if arguments[0] == "-m":  # sys.path[0] is the current folder already
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        sys.path[0] = str(Path(arguments[0]).resolve().parent)
        runpy.run_path(arguments[0], run_name="__main__")
