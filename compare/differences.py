"""What differs between two recorded steps, quantity by quantity.

Everything is compared bit for bit: fingerprints as they are, numbers as JSON wrote
them, so that "nan" equals "nan" and 0.0 is not -0.0.
"""

import json
import math
from dataclasses import dataclass, field

from compare.runs import Match, Pair
from compare.tracefile import Record

# A step's quantities, in the order in which they depend on each other.
ORDER = [
    "optimizer",
    "initial weights",
    "batch",
    "mode",
    "loss",
    "gradient",
    "learning rate",
    "weights",
    "evaluation",
]
# A batch that differs and changes no result is the same batch in another form, and a
# mode without an effect is none: only these make two runs different.
RESULTS = {"optimizer", "initial weights", "loss", "gradient", "weights", "evaluation"}


@dataclass
class Difference:
    """One quantity that differs at a step; `names` are the parameters concerned."""

    quantity: str
    a: str
    b: str
    size: float | None = None  # relative: |a - b| / max(|a|, |b|)
    names: list[str] = field(default_factory=list)
    note: str = ""


def differences(pair: Pair, k: int) -> list[Difference]:
    """Compare step k of both runs, and the evaluation after it.

    Returns:
        What differs, in the order of `ORDER`.
    """
    a, b = pair.a.step(k), pair.b.step(k)
    match = pair.match(k)
    if match is None:
        return [Difference("optimizer", _stepped(pair, "a", k), _stepped(pair, "b", k))]
    both = min(len(pair.a.steps), len(pair.b.steps))
    cut = pair.a.trace.cut or pair.b.trace.cut or len(pair.a.steps) != len(pair.b.steps)
    found = [
        _initial(pair, match, k),
        _evaluation(pair, 0, counted=False) if k == 0 else None,  # a sanity check
        _batch(a["batches"], b["batches"]),
        _mode(a["batches"], b["batches"]),
        _loss(a, b),
        _prints("gradient", a["gradient"], b["gradient"], match),
        _numbers("loss", a.get("again", []), b.get("again", [])),
        _numbers("learning rate", a["lr"], b["lr"]),
        _prints("weights", a["weights"], b["weights"], match),
        _evaluation(pair, k + 1, counted=not (cut and k + 1 == both)),
    ]
    return [difference for difference in found if difference]


def _evaluation(pair: Pair, k: int, *, counted: bool) -> Difference | None:
    """Compare the evaluation batches before step k, in the order of run a.

    Where only one run evaluates at all, nothing can differ. `counted` says whether a
    different number of batches is a difference.
    """
    a, b = pair.a.evaluation(k), pair.b.evaluation(k)
    if not a or not b:
        return None
    where = {json.dumps(record["inputs"]): record for record in b}
    if len(where) == len(b) and where.keys() == {json.dumps(r["inputs"]) for r in a}:
        b = [where[json.dumps(record["inputs"])] for record in a]
    for i, (one, other) in enumerate(zip(a, b, strict=False)):
        if not _same_inputs(one["inputs"], other["inputs"]):
            return _of_batch(one, other, f"batch {i} of the evaluation is another one")
        if one.get("output") != other.get("output"):
            return _of_output(one, other, i)
    if counted and len(a) != len(b):
        note = "the batches that both evaluated give the same"
        return Difference(
            "evaluation", f"{len(a)} batches", f"{len(b)} batches", note=note
        )
    return None


def relative(a: float, b: float) -> float:
    """Give the size of a difference in proportion to the larger of the two."""
    if a == b:
        return 0.0
    if not (math.isfinite(a) and math.isfinite(b)):
        return 0.0 if math.isnan(a) and math.isnan(b) else math.inf
    return abs(a - b) / max(abs(a), abs(b))


def _initial(pair: Pair, match: Match, k: int) -> Difference | None:
    number = match.a["optimizer"]
    if any(pair.a.step(i)["optimizer"] == number for i in range(k)):
        return None
    one, other = match.a["weights"], match.b["weights"]
    return _prints("initial weights", one, other, match)


def _stepped(pair: Pair, side: str, k: int) -> str:
    run = pair.a if side == "a" else pair.b
    for match in pair.matches:
        record = match.a if side == "a" else match.b
        if record["optimizer"] == run.step(k)["optimizer"]:
            return f"{record['class']} over {record['names'][0]}, ..."
    raise AssertionError("a step without an optimizer was kept")


def _batch(a: list[Record], b: list[Record]) -> Difference | None:
    if len(a) != len(b):
        return Difference("batch", f"{len(a)} batches", f"{len(b)} batches")
    for i, (one, other) in enumerate(zip(a, b, strict=True)):
        if not _same_inputs(one["inputs"], other["inputs"]):
            note = f"batch {i} of the {len(a)} of this step" if len(a) > 1 else ""
            found = _of_batch(one, other, note)
            found.quantity = "batch"
            return found
    return None


def _mode(a: list[Record], b: list[Record]) -> Difference | None:
    for one, other in zip(a, b, strict=False):
        if one["mode"] != other["mode"]:
            return Difference("mode", one["mode"], other["mode"])
    return None


def _loss(a: Record, b: Record) -> Difference | None:
    if a["loss"] == b["loss"] and a["dtype"] != b["dtype"]:
        return Difference("loss", str(a["dtype"]), str(b["dtype"]), note="its dtype")
    return _numbers("loss", a["loss"], b["loss"])


def _numbers(quantity: str, a: list[object], b: list[object]) -> Difference | None:
    if list(map(repr, a)) == list(map(repr, b)):
        return None
    if len(a) != len(b):
        return Difference(quantity, f"{len(a)} of them", f"{len(b)} of them")
    i = next(i for i in range(len(a)) if repr(a[i]) != repr(b[i]))
    one, other = float(str(a[i])), float(str(b[i]))
    note = f"number {i} of {len(a)}" if len(a) > 1 else ""
    return Difference(quantity, str(a[i]), str(b[i]), relative(one, other), note=note)


def _prints(
    quantity: str, a: Record | None, b: Record | None, match: Match
) -> Difference | None:
    if a is None or b is None or (a["bits"] == b["bits"] and match.whole):
        return None
    names = match.a["names"]
    pairs = [(i, j, names[i]) for i, j in match.parameters]
    # where parameters joined later, the statistics stood elsewhere: leave them out
    if len(a["each"]) == 4 * (len(names) + len(match.a["statistics"])):
        pairs += [
            (len(names) + i, len(match.b["names"]) + j, match.a["statistics"][i])
            for i, j in match.statistics
        ]
    changed = [
        name
        for i, j, name in pairs
        if a["each"][4 * i : 4 * i + 4] != b["each"][4 * j : 4 * j + 4]
    ]
    if not changed and not match.whole:
        return None
    one, other = float(a["norm"]), float(b["norm"])
    values = f"norm {one:.9g} ({a['bits']})", f"norm {other:.9g} ({b['bits']})"
    return Difference(quantity, *values, relative(one, other), changed)


def _same_inputs(a: list[str], b: list[str]) -> bool:
    """Whether one holds all of the other: a Trainer under DDP passes the labels too."""
    few, many = sorted((a, b), key=len)
    return all(few.count(item) <= many.count(item) for item in few)


def _of_batch(a: Record, b: Record, note: str) -> Difference:
    one, other = (
        f"norm {float(r['norm']):.9g}, mean {float(r['mean']):.6g}, shape {r['shape']}"
        for r in (a, b)
    )
    size = relative(float(a["norm"]), float(b["norm"]))
    return Difference("evaluation", one, other, size, note=note)


def _of_output(a: Record, b: Record, i: int) -> Difference:
    norms = [float(r["output"]["norm"]) if "output" in r else 0.0 for r in (a, b)]
    one, other = (
        f"output of norm {norm:.9g} in mode {r['mode']}"
        for norm, r in zip(norms, (a, b), strict=True)
    )
    return Difference("evaluation", one, other, relative(*norms), note=f"batch {i}")
