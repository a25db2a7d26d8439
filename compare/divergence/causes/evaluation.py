# ruff: noqa: D103 (the words of a sign stand in table.py)
"""Signs of a cause seen first in an evaluation, a run's length, or whose turn it is."""

from __future__ import annotations

from collections import Counter

from ..evidence import Evidence


def epoch_length(e: Evidence) -> str | None:
    one, other = e.evaluations
    if bool(one) != bool(other) and e.new_epoch_in_one_run:
        return (
            f"only {(e.a if one else e.b).name} starts a new epoch after step {e.step}"
        )
    return None


def missing(e: Evidence) -> str | None:
    one, other = e.evaluations
    if bool(one) != bool(other):
        return f"only {(e.a if one else e.b).name} evaluates after step {e.step}"
    return None


def share(e: Evidence) -> str | None:
    one, other = (len(side) for side in e.evaluations)
    return f"{one} against {other} batches" if one and other and one != other else None


def order(e: Evidence) -> str | None:
    if not e.detail.startswith("input"):
        return None
    bags = [sum(x.batch.bag[0] for x in side if x.batch) for side in e.evaluations]
    same = (bags[0] - bags[1]) % (1 << 64) == 0
    return "the same rows come in another order" if same else None


def data(e: Evidence) -> str | None:
    if e.detail.startswith("input") and not order(e) and not share(e):
        return "the input of an evaluation batch differs"
    return None


def precision(e: Evidence) -> str | None:
    for one, other in zip(*e.evaluations, strict=False):
        if one.precision != other.precision:
            return f"{one.precision} against {other.precision}"
    return None


def eval_forgotten(e: Evidence) -> str | None:
    if e.quantity == "buffers" or e.detail.startswith("mode"):
        modes = [Counter(x.mode for x in side) for side in e.evaluations]
        if e.detail.startswith("mode") and modes[0] != modes[1]:
            return " against ".join(", ".join(sorted(mode)) for mode in modes)
    return None


def other_weights(e: Evidence) -> str | None:
    if e.detail.startswith("output"):
        return "the same batch in the same mode gives another output"
    return None


def crashed(e: Evidence) -> str | None:
    shorter = min(e.runs, key=lambda run: len(run.steps))
    return shorter.crashed


def stopped_earlier(e: Evidence) -> str | None:
    counts = [len(run.steps) for run in e.runs]
    return None if crashed(e) else f"all {min(counts)} common steps are the same"


def other_turn(e: Evidence) -> str | None:
    if e.detail.startswith("whose") and e.pair:
        one, other = (
            f"{o.names[0]} ({'x'.join(map(str, o.shapes[0]))})"
            for run, step in zip(e.runs, e.pair, strict=True)
            for o in [run.optimizers[step.optimizer]]
        )
        return f"{e.a.name} steps that of {one}, {e.b.name} that of {other}"
    return None


def extra_optimizer(e: Evidence) -> str | None:
    names = [", ".join(o.name for o in run.optimizers) for run in e.runs]
    return None if other_turn(e) else " against ".join(names)


def rounding(e: Evidence) -> str | None:
    """Tell the size of the last bits, whatever it grows into later."""
    if not e.rounding:
        return None
    start = ", and the weights before the first step too" if e.initial else ""
    reasons = f"; not the same: {', '.join(e.machine)}" if e.machine else ""
    return f"its relative size is {e.size:.1g}{start}{reasons}"


def other_machine(e: Evidence) -> str | None:
    return None if e.rounding else ", ".join(e.machine)
