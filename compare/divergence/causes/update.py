# ruff: noqa: D103, SIM102 (the words of a sign stand in table.py)
"""Signs of a cause seen first in gradients, learning rates, weights or buffers."""

from __future__ import annotations

from itertools import groupby, pairwise

from ...trace.run import NAMELESS, NO_TENSOR, Step
from ..evidence import _SAME_FORMULA, Evidence


def parameters_left_out(e: Evidence) -> str | None:
    if e.match and e.optimizers:
        one, other = e.optimizers
        alone = [one.names[i] for i in e.match.only_a]
        alone += [other.names[j] for j in e.match.only_b]
        if alone:
            return f"{alone[0]}, one of {len(alone)}, is in one optimizer only"
        for run, optimizer in zip(e.runs, e.optimizers, strict=True):
            lost = [name for name in optimizer.names if name.startswith(NAMELESS)]
            if lost and e.match.how == "position":
                return f"{lost[0]} of the optimizer in {run.name} is in no model"
    return None


def frozen(e: Evidence) -> str | None:
    """Tell None, and whether the other is zero."""
    if e.pair and e.match and e.optimizers:
        one, other = (step.gradient for step in e.pair)
        for i, j in e.match.pairs:
            missing = [one.part(i) == NO_TENSOR, other.part(j) == NO_TENSOR]
            if missing[0] != missing[1]:
                norm = other.norms[j] if missing[0] else one.norms[i]
                words = "zeros" if norm == 0 else f"of norm {norm:.4g}"
                run = e.runs[missing.index(True)].name
                name = e.optimizers[0].names[i]
                return f"the gradient of {name} is None in {run}, {words} in the other"
    return None


def scaled_gradient(e: Evidence) -> str | None:
    if e.pair:
        small, large = sorted(step.gradient.norm for step in e.pair)
        scaled = any(abs(x) > 1000 for x in e.pair[0].loss)
        if small and large / small > 1000 and scaled:
            return f"the loss is scaled, and the norms are {small:.3g} and {large:.3g}"
    return None


def clipped_by_norm(e: Evidence) -> str | None:
    """Tell norms that stop at one number; the same one in both is no cause."""
    limits = [_limit(steps) for _, steps in e.sides]
    if limits[0] == limits[1] or not _is_whole(e):
        return None
    said = [
        f"in {run.name} the norm stops at {limit:.4g}"
        for run, limit in zip(e.runs, limits, strict=True)
        if limit
    ]
    return " and ".join(said)


def both_clip(e: Evidence) -> str | None:
    limits = [_limit(steps) for _, steps in e.sides]
    if limits[0] and limits[0] == limits[1]:
        return f"both clip at the norm {limits[0]:.4g}: the gradients differ before"
    return None


def _limit(steps: list[Step]) -> float | None:
    """Return the norm at which a run's gradients are clipped, to four digits."""
    norms = [step.gradient.norm for step in steps]
    limit = max(norms)
    at_limit = sum(norm > limit * 0.9999 for norm in norms)
    return (
        float(f"{limit:.4g}") if at_limit > 1 and at_limit >= len(norms) / 10 else None
    )


def _is_whole(e: Evidence) -> bool:
    """Tell whether one gradient is the other times a number, tensor by tensor."""
    ratios = e.ratios()
    return not ratios or max(ratios) < 1.001 * min(ratios)


def zero_grad_forgotten(e: Evidence) -> str | None:
    if e.pair and e.iteration == 1:
        return (
            "this optimizer's first gradient is the same and its second is not, at the"
            " same loss"
        )
    return None


def gradient_factor(e: Evidence) -> str | None:
    if e.pair and _is_whole(e) and not clipped_by_norm(e) and not both_clip(e):
        small, large = sorted(step.gradient.norm for step in e.pair)
        factor = round(large / small) if small else 0
        if factor > 1 and abs(large / small - factor) < 1e-4 * factor:
            return f"one norm is {factor} times the other"
    return None


def gradient_changed(e: Evidence) -> str | None:
    if e.pair and not both_clip(e):
        return "the losses are the same up to here" if e.pair[0].loss else None
    return None


def scheduler_too_early(e: Evidence) -> str | None:
    """One run has a rate that the other has as its next one."""
    if not e.pair or scheduler_interval(e):
        return None
    rates = [[step.lr[0] for step in steps] for _, steps in e.sides]
    for ahead, behind, run in (
        (rates[0], rates[1], e.a),
        (rates[1], rates[0], e.b),
    ):
        following = [rate for rate, _ in groupby(behind[e.step :])][1:]
        if following and ahead[e.step] == following[0]:
            return f"{run.name} has at step {e.step} what is the other's next rate"
    return None


def other_learning_rate(e: Evidence) -> str | None:
    if e.pair and e.first_step and not scheduler_too_early(e):
        one, other = (", ".join(map(str, dict.fromkeys(s.lr))) for s in e.pair)
        return f"{one} against {other}"
    return None


def scheduler_not_stepped(e: Evidence) -> str | None:
    fixed = [run.name for run, steps in e.sides if len({s.lr for s in steps}) == 1]
    if len(fixed) == 1 and not e.first_step:
        return f"the learning rate of {fixed[0]} never changes"
    return None


def scheduler_interval(e: Evidence) -> str | None:
    changes = [
        sum(one.lr != other.lr for one, other in pairwise(steps))
        for _, steps in e.sides
    ]
    if min(changes) > 0 or not e.first_step:
        if max(changes) > 2 * min(changes) + 1:
            return f"it changes {changes[0]} against {changes[1]} times"
    return None


def scheduler_more_often(e: Evidence) -> str | None:
    if scheduler_not_stepped(e):
        return None
    return scheduler_interval(e)


def other_schedule(e: Evidence) -> str | None:
    if e.first_step or scheduler_too_early(e) or scheduler_not_stepped(e):
        return None
    if scheduler_interval(e):
        return None
    return f"the learning rates were the same up to step {e.step - 1}"


def optimizer_class(e: Evidence) -> str | None:
    if e.optimizers and e.optimizers[0].name != e.optimizers[1].name:
        return f"{e.optimizers[0].name} against {e.optimizers[1].name}"
    return None


def optimizer_state_lost(e: Evidence) -> str | None:
    if not e.pair:
        return None
    for index, run in enumerate(e.runs):
        now = e.pair[index].optimizer
        same = [
            p[index].optimizer
            for p in e.before
            if _is_copy(run.optimizers, p[index].optimizer, now)
        ]
        if same and same[-1] != now and run.optimizers[now].again is None:
            return f"{run.name} makes a new {run.optimizers[now].name} at this step"
    one, other = (step.state for step in e.pair)
    if one != other and (min(one[0], other[0]) == 0 or one[1] != other[1]):
        words = [
            f"{s[0]:.0f} parameters have a state"
            + (f" of {s[1]:.0f} steps" if s[1] >= 0 else "")
            for s in (one, other)
        ]
        return " against ".join(words)
    return None


def _is_copy(optimizers: list, earlier: int, now: int) -> bool:  # type: ignore[type-arg]
    return optimizers[earlier].names == optimizers[now].names


def weight_decay_groups(e: Evidence) -> str | None:
    """Tell decay that differs for some parameters, and not for others."""
    texts = [text for text in e.options() if text.startswith("weight_decay")]
    return texts[0] if texts and not _decay_everywhere(e) else None


def weight_decay(e: Evidence) -> str | None:
    texts = [text for text in e.options() if text.startswith("weight_decay")]
    return texts[0] if texts and _decay_everywhere(e) else None


def _decay_everywhere(e: Evidence) -> bool:
    if not (e.optimizers and e.pair and e.match):
        return False
    one, other = (
        [step.settings[group].get("weight_decay") for group in optimizer.groups]
        for step, optimizer in zip(e.pair, e.optimizers, strict=True)
    )
    return all(one[i] != other[j] for i, j in e.match.pairs)


def optimizer_options(e: Evidence) -> str | None:
    if optimizer_class(e):
        return None
    other = (*_SAME_FORMULA, "weight_decay", "decoupled_weight_decay")
    return next((text for text in e.options() if not text.startswith(other)), None)


def update_changed(e: Evidence) -> str | None:
    return "gradient and learning rate are the same up to here" if e.pair else None


def start_differs(e: Evidence) -> str | None:
    if e.other_start:
        return f"{e.initial[0]} differs before the first step already"
    return None


def statistics(e: Evidence) -> str | None:
    if e.quantity == "buffers":
        return "all else is the same, and so are the weights"
    if any("Norm" in layer for layer in (*e.a.layers, *e.b.layers)):
        return "the weights are the same, and the model has running statistics"
    return None
