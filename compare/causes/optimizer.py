"""Causes between the loss and the new weights: gradient, learning rate, optimizer."""

import math
from itertools import pairwise

from compare.causes.clues import (
    CERTAIN,
    LIKELY,
    POSSIBLE,
    TRAIN,
    UNLIKELY,
    Clues,
    cause,
)

SETTINGS_OF_SPEED = {"foreach", "fused", "capturable"}


@cause(
    "zero-grad",
    "One run does not clear the gradient, so that each step adds to the one before",
    "call optimizer.zero_grad() in each step, before loss.backward()",
    TRAIN,
)
def _zero_grad(clues: Clues) -> float:
    if not clues.starts_with("gradient") or not clues.step or clues.tiny():
        return 0
    return LIKELY if clues.step == 1 else POSSIBLE


@cause(
    "clipping",
    "One run clips the gradient and the other does not, or to another norm",
    "print the total norm that clip_grad_norm_ returns, and the Trainer's"
    " gradient_clip_val",
)
def _clipping(clues: Clues) -> float:
    if not clues.starts_with("gradient"):
        return 0
    runs = clues.runs()
    steps = range(clues.step, min(len(clues.pair), clues.step + 5))
    norms = [[float(run.step(k)["gradient"]["norm"]) for k in steps] for run in runs]
    if len(steps) > 1 and any(_constant(n) for n in norms):
        return CERTAIN
    low = min(n[0] for n in norms)
    return POSSIBLE + 0.5 if math.isclose(low, float(f"{low:.1g}"), rel_tol=1e-4) else 0


def _constant(values: list[float]) -> bool:
    return values[0] > 0 and all(
        math.isclose(v, values[0], rel_tol=1e-4) for v in values
    )


@cause(
    "clip-value",
    "The gradient is changed between backward and step: clipped by value, clipped"
    " before unscaling, or by a hook",
    "compare p.grad right after backward() and right before step()",
)
def _clip_value(clues: Clues) -> float:
    return POSSIBLE if clues.starts_with("gradient") and not clues.tiny() else 0


@cause(
    "no-gradient",
    "Some parameters get no gradient in one run: frozen, detached, or computed under"
    " no_grad",
    "list the parameters with requires_grad false or grad None in both scripts",
)
def _no_gradient(clues: Clues) -> float:
    if not clues.starts_with("gradient"):
        return 0
    for i, j in clues.match.parameters if clues.match else []:
        parts = (
            clues.a["gradient"]["each"][4 * i : 4 * i + 4],
            clues.b["gradient"]["each"][4 * j : 4 * j + 4],
        )
        if (parts[0] == "0000") != (parts[1] == "0000"):
            return CERTAIN + 0.5
    return 0


@cause(
    "world-size",
    "The gradient is averaged over another number of processes",
    "one process with batch size n x b is not n with b where batch norm or an uneven"
    " split is involved",
)
def _world_size(clues: Clues) -> float:
    one, other = clues.header("world_size")
    return LIKELY if one != other and clues.starts_with("gradient", "batch") else 0


@cause(
    "scheduler-interval",
    "One run steps its scheduler each step and the other each epoch (a Trainer's"
    " default is the epoch)",
    'return {"scheduler": scheduler, "interval": "step"} or step once an epoch',
)
def _scheduler_interval(clues: Clues) -> float:
    if not clues.starts_with("learning rate") or not clues.step:
        return 0
    changes = _changes(clues)
    return CERTAIN if all(changes) and changes[0] != changes[1] else 0


@cause(
    "scheduler-missing",
    "One run never steps its scheduler (a Trainer leaves it to you in manual"
    " optimization)",
    "call scheduler.step() yourself under automatic_optimization = False",
)
def _scheduler_missing(clues: Clues) -> float:
    if not clues.starts_with("learning rate") or not clues.step:
        return 0
    changes = _changes(clues)
    return CERTAIN if not all(changes) else 0


def _changes(clues: Clues) -> list[int]:
    """Count the changes of the learning rate in each run, over a stretch of steps."""
    counts = []
    for run in clues.runs():
        stop = min(len(clues.pair), clues.step + 1000)
        rates = [run.step(k)["lr"] for k in range(stop)]
        counts.append(sum(a != b for a, b in pairwise(rates)))
    return counts


@cause(
    "scheduler-shift",
    "The same schedule, one step apart: the scheduler steps before the optimizer in one"
    " run, or once more at the start",
    "print the learning rate right before optimizer.step() in both scripts",
)
def _scheduler_shift(clues: Clues) -> float:
    k = clues.step
    if not clues.starts_with("learning rate") or k > len(clues.pair) - 2:
        return 0
    a, b = clues.runs()
    shifted = (
        a.step(k + 1)["lr"] == clues.b["lr"] or b.step(k + 1)["lr"] == clues.a["lr"]
    )
    return CERTAIN + 0.5 if shifted else 0


@cause(
    "first-rate",
    "The runs start with another learning rate: another value, scaled by the number of"
    " processes, or a warm-up in one run only",
    "print optimizer.param_groups[0]['lr'] before the loop",
)
def _first_rate(clues: Clues) -> float:
    return CERTAIN if clues.starts_with("learning rate") and clues.step == 0 else 0


@cause(
    "optimizer-class",
    "The optimizers are of different kinds",
    "print type(optimizer) in both scripts: Adam and AdamW, say, decay differently",
)
def _optimizer_class(clues: Clues) -> float:
    differ = (
        clues.match is not None and clues.match.a["class"] != clues.match.b["class"]
    )
    return CERTAIN + 1 if differ and clues.starts_with("weights", "optimizer") else 0


@cause(
    "optimizer-options",
    "The optimizers have different settings: weight_decay, betas, eps, momentum ...",
    "print optimizer in both scripts",
)
def _optimizer_options(clues: Clues) -> float:
    if not clues.starts_with("weights"):
        return 0
    differ = _different_options(clues)
    return CERTAIN if differ - SETTINGS_OF_SPEED else 0


@cause(
    "optimizer-kernel",
    "The optimizers use other kernels (fused, foreach), which round differently",
    "print optimizer in both scripts and set fused and foreach alike",
)
def _optimizer_kernel(clues: Clues) -> float:
    if not clues.starts_with("weights") or not clues.tiny():
        return 0
    differ = _different_options(clues)
    return CERTAIN if differ and differ <= SETTINGS_OF_SPEED else 0


def _different_options(clues: Clues) -> set[str]:
    a, b = (run.options(clues.step) for run in clues.runs())
    return {
        key
        for one, other in zip(a, b, strict=False)
        for key in one.keys() | other.keys()
        if one.get(key) != other.get(key)
    }


@cause(
    "optimizer-state",
    "The optimizer's state was lost in one run: made anew, or not restored with the"
    " weights",
    "print len(optimizer.state) right before the step: 0 means it starts from nothing",
)
def _optimizer_state(clues: Clues) -> float:
    if not clues.starts_with("weights") or not clues.step:
        return 0
    return LIKELY if not _different_options(clues) else UNLIKELY


@cause(
    "weights-changed",
    "The weights are changed by something besides the optimizer: a clamp, weights put"
    " back, weights averaged, parameters stepped by another optimizer",
    "compare the weights right before and right after optimizer.step()",
)
def _weights_changed(clues: Clues) -> float:
    return POSSIBLE if clues.starts_with("weights") else 0


@cause(
    "other-optimizers",
    "The optimizers take turns differently",
    "print which optimizer steps, in both scripts, for the first few steps",
)
def _other_optimizers(clues: Clues) -> float:
    return LIKELY if clues.starts_with("optimizer") else 0
