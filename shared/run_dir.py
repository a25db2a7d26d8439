"""The folder of a run: output/<half>/<lesson>/version_N."""

import sys
from itertools import count
from pathlib import Path


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


def newest_run_dir(parent: Path) -> Path | None:
    """Return the folder `version_N` with the largest N, if there is one."""
    numbers = [path.name.removeprefix("version_") for path in parent.glob("version_*")]
    newest = max(
        (int(number) for number in numbers if number.isdecimal()), default=None
    )
    return None if newest is None else parent / f"version_{newest}"


def say_what_is_saved(run_dir: Path) -> None:
    """Say on stderr which files a run leaves; remove its folders if empty.

    The line begins anew, below a progress bar that may stand there.
    """
    if not run_dir.exists():  # a dry run
        return
    patterns = ("checkpoints/*.ckpt", "*.npz", "*.png", "*.json")
    saved = [path for pattern in patterns for path in sorted(run_dir.glob(pattern))]
    if saved:
        print("\nsaved so far:", *saved, file=sys.stderr)
    elif any(run_dir.iterdir()):
        print("\nnothing saved yet but logs, in", run_dir, file=sys.stderr)
    else:
        for folder in (run_dir, run_dir.parent, run_dir.parents[1]):
            if not any(folder.iterdir()):
                folder.rmdir()
