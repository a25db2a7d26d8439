"""The parts of the bench, and their results."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

from compare.bench import ladder, loading, peers, sizes, startup, switches

PARTS: dict[str, ModuleType] = {
    "ladder": ladder,
    "peers": peers,
    "sizes": sizes,
    "switches": switches,
    "loading": loading,
    "startup": startup,
}
"""Each has `measure`, which returns results, and `report`, which shows them."""
RESULTS = Path(__file__).parents[1] / "results"


def read(part: str) -> dict[str, Any]:
    """Return the committed results of a part."""
    return json.loads((RESULTS / f"{part}.json").read_text("utf-8"))


def show(part: str, results: dict[str, Any], form: str = "github") -> str:
    """Return results with their conditions, as text with tables of this format."""
    return (
        f"{PARTS[part].report(results, form)}\n\nMeasured on {results['conditions']}."
    )


def committed(part: str) -> str:
    """Return the committed results of a part, for compare/lessons/speed.md."""
    return show(part, read(part))
