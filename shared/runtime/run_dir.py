"""The folder of a run: output/<lesson>/<half>/version_N."""

import sys
from itertools import count
from pathlib import Path

from shared.runtime.errors import UsageError


def given_run_dir(run_dir: Path) -> Path:
    """Make and return the folder that --run-dir names.

    Raises:
        UsageError: it has files already.
        OSError: the folder cannot be made.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    if any(run_dir.iterdir()):
        raise UsageError(f"--run-dir {run_dir} is not empty: name a new folder")
    return run_dir


def new_run_dir(parent: Path) -> Path:
    """Make and return the first folder `version_N` that is not there yet.

    Raises:
        OSError: the folder cannot be made.
    """
    parent.mkdir(parents=True, exist_ok=True)
    for number in count():
        run_dir = parent / f"version_{number}"
        try:
            run_dir.mkdir()  # two runs that start at once cannot both make it
        except FileExistsError:
            continue
        return run_dir
    raise AssertionError("count() does not end")


def run_dirs(parent: Path) -> list[Path]:
    """Return the folders `version_N`, the oldest first."""
    names = [path.name.removeprefix("version_") for path in parent.glob("version_*")]
    numbers = sorted(int(name) for name in names if name.isdecimal())
    return [parent / f"version_{number}" for number in numbers]


def say_what_is_saved(run_dir: Path, since: float = 0) -> None:
    """Say on stderr which files a run has saved; remove its folders if empty.

    The message starts on a new line, since a progress bar may be on the current one.

    Args:
        run_dir: the folder of the run.
        since: when a resumed run began, in seconds of `time.time()`; older files are
            not its own.
    """
    if not run_dir.exists():  # a dry run
        return
    # A sharded checkpoint's meta.pt comes last: with it, it is whole.
    checkpoints = ("checkpoints/*.ckpt", "sharded/*/meta.pt")
    patterns = (*checkpoints, "*.npz", "*.png", "*.json")
    found = [path for pattern in patterns for path in sorted(run_dir.glob(pattern))]
    saved = [path for path in found if path.stat().st_mtime >= since]
    if saved:
        print("\nsaved so far:", *saved, file=sys.stderr)
    elif found:
        return
    elif any(run_dir.iterdir()):
        print("\nnothing saved yet but logs, in", run_dir, file=sys.stderr)
    else:
        for folder in (run_dir, run_dir.parent, run_dir.parents[1]):
            if not any(folder.iterdir()):
                folder.rmdir()
