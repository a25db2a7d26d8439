"""Carry the change of train.py since the last commit into all lessons that extend it.

    python -m compare.lessons.spread

A lesson where the change does not fit is left as it was, and named. The exit status is
0 when all lessons have the change, 1 when some do not, and 2 without a git clone.
"""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from compare.lessons.costs import HALVES, ROOT, lessons, parent


def committed(path: Path) -> bytes:
    """Return a file as it is in the last commit.

    Raises:
        subprocess.CalledProcessError: there is no such commit or file; git has said so.
    """
    command = ["git", "show", f"HEAD:./{path.name}"]
    return subprocess.run(
        command, cwd=path.parent, stdout=subprocess.PIPE, check=True
    ).stdout


def merge(path: Path, base: bytes, changed: Path) -> bytes | None:
    """Return a lesson with the change from `base` to the file `changed`.

    None means that the change does not fit.
    """
    with TemporaryDirectory() as folder:
        old = Path(folder, "old.py")
        old.write_bytes(base)
        command = ["git", "merge-file", "-p", str(path), str(old), str(changed)]
        merged = subprocess.run(command, stdout=subprocess.PIPE)
    return merged.stdout if merged.returncode == 0 else None


def replace(path: Path, content: bytes) -> None:
    """Give a file another content: at every moment it is whole, old or new."""
    new = path.with_name(f".{path.name}.new")
    try:
        new.write_bytes(content)
        new.chmod(path.stat().st_mode)
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def spread(root: Path = ROOT) -> int:
    """Merge into all lessons, say what became of each, and return the exit status."""
    conflicts = False
    for half in HALVES:
        for lesson in lessons(root):
            path = root / half / f"{lesson}.py"
            train = parent(path)
            if train is None:
                continue
            name = path.relative_to(root)
            merged = merge(path, committed(train), train)
            if merged is None:
                conflicts = True
                print(f"conflict   {name}: left as it was")
            elif merged == path.read_bytes():
                print(f"unchanged  {name}")
            else:
                replace(path, merged)
                print(f"merged     {name}")
    return 1 if conflicts else 0


if __name__ == "__main__":
    try:
        sys.exit(spread())
    except subprocess.CalledProcessError:
        print("error: make spread needs a git clone with a commit", file=sys.stderr)
        sys.exit(2)
