"""Check that a committed result still belongs to the code of its lesson."""

import hashlib
import json
from pathlib import Path

from compare.lessons.costs import HALVES, ROOT, split_docstring

RESULTS = Path(__file__).parents[1] / "results"
LESSONS, CLINIC = RESULTS / "lessons", RESULTS / "clinic.json"


def digest(lesson: str, root: Path = ROOT) -> str:
    """Return a digest of a lesson's files without docstring and comment lines."""
    code = [
        line.rstrip()
        for half in HALVES
        for line in split_docstring(root / half / f"{lesson}.py")[1].splitlines()
        if line.strip() and not line.strip().startswith("#")
    ]
    return hashlib.sha256("\n".join(code).encode()).hexdigest()[:16]


def is_stale(lesson: str) -> bool:
    """Return whether a lesson's result is missing, or is that of other code."""
    path = LESSONS / f"{lesson}.json"
    if not path.exists():
        return True
    found: str = json.loads(path.read_text(encoding="utf-8"))["digest"]
    return found != digest(lesson)


def clinic_digest() -> str:
    """Return a digest of the clinic's cases."""
    files = sorted((ROOT / "compare" / "clinic").glob("*.py"))
    return hashlib.sha256(b"".join(map(Path.read_bytes, files))).hexdigest()[:16]
