# ruff: noqa: D401 (the docstring of a cause says what happened)
"""Causes that are seen first in gradients, learning rates or weights."""

from __future__ import annotations

from itertools import groupby, pairwise

from ...trace.run import NAMELESS, NO_TENSOR, Step
from ..evidence import SAME_FORMULA, Evidence
from .cause import LIKELY, POSSIBLE, PROVEN, cause
from .loss import whole_factor


@cause(
    PROVEN, {"gradient", "weights"}, lesson="transfer", case="optimizer-before-new-head"
)
def parameters_left_out(e: Evidence) -> str | None:
    """The optimizers do not hold the same parameters.

    Compare the names given to the optimizers. One made before a layer was replaced
    updates the old layer.
    """
    one, other = e.optimizers
    alone = [one.names[i] for i in e.match.only_a]
    alone += [other.names[j] for j in e.match.only_b]
    if alone:
        return f"{alone[0]}, one of {len(alone)}, is in one optimizer only"
    for run, optimizer in zip(e.runs, e.optimizers, strict=True):
        lost = [name for name in optimizer.names if name.startswith(NAMELESS)]
        if lost and e.match.by_position:
            return f"{lost[0]} of the optimizer in {run.name} is in no model"
    return None


@cause(PROVEN, {"gradient"}, lesson="transfer", case="first-layer-frozen")
def frozen(e: Evidence) -> str | None:
    """Parameters are frozen, or cut off from the loss, in one run only.

    A gradient that is None makes no step; one of zeros does, by decay and momentum.

    Print [n for n, p in model.named_parameters() if p.grad is None] after backward.
    zero_grad(set_to_none=False) leaves zeros.
    """
    one, other = (step.gradient for step in e.pair)
    for i, j in e.match.pairs:
        missing = [one.hash_of(i) == NO_TENSOR, other.hash_of(j) == NO_TENSOR]
        if missing[0] != missing[1]:
            norm = other.norms[j] if missing[0] else one.norms[i]
            words = "zeros" if norm == 0 else f"of norm {norm:.4g}"
            run = e.runs[missing.index(True)].name
            name = e.optimizers[0].names[i]
            return f"the gradient of {name} is None in {run}, {words} in the other"
    return None


@cause(PROVEN, {"gradient"}, lesson="precision", case="clipped-before-unscaling")
def clipped_before_unscaling(e: Evidence) -> str | None:
    """One run clips gradients that are still multiplied by the loss scale.

    Call scaler.unscale_(optimizer) before clip_grad_norm_.
    """
    small, large = sorted(step.gradient.norm for step in e.pair)
    is_scaled = any(abs(loss) > 1000 for loss in e.pair[0].loss)
    if small and large / small > 1000 and is_scaled:
        return f"the loss is scaled, and the norms are {small:.3g} and {large:.3g}"
    return None


@cause(PROVEN, {"gradient"}, lesson="clipping", case="clipping-forgotten")
def clipped_by_norm(e: Evidence) -> str | None:
    """Only one run clips the gradient by its norm, or they clip at other norms.

    Compare clip_grad_norm_ and gradient_clip_val; print the norm before clipping. Clip
    between backward and step.
    """
    limits = [_limit(steps) for steps in e.steps]
    if limits[0] == limits[1] or not _is_multiple(e):
        return None
    return " and ".join(
        f"in {run.name} the norm stops at {limit:.4g}"
        for run, limit in zip(e.runs, limits, strict=True)
        if limit
    )


def _limit(steps: list[Step]) -> float | None:
    """Return the norm at which a run's gradients are clipped, to four digits."""
    norms = [step.gradient.norm for step in steps]
    limit = max(norms)
    at_limit = sum(norm > limit * 0.9999 for norm in norms)
    is_limit = at_limit > 1 and at_limit >= len(norms) / 10
    return float(f"{limit:.4g}") if is_limit else None


def _is_multiple(e: Evidence) -> bool:
    """Tell whether one gradient is the other times a number, tensor by tensor."""
    one, other = (step.gradient for step in e.pair)
    least = 1e-4 * max(one.norm, other.norm)
    both = [(one.norms[i], other.norms[j]) for i, j in e.match.pairs]
    ratios = [x / y for x, y in both if min(x, y) > least]
    return not ratios or max(ratios) < 1.001 * min(ratios)


@cause(LIKELY, {"gradient"}, lesson="distributed", case="gradients-summed")
def gradient_factor(e: Evidence) -> str | None:
    """The gradient is a multiple of the other: summed and not averaged, or scaled.

    Divide by the number of processes, or of accumulated batches; unscale before step.
    """
    if not _is_multiple(e) or clipped_by_norm.sign(e) or other_backward.sign(e):
        return None
    factor = whole_factor(*(step.gradient.norm for step in e.pair))
    return f"one norm is {factor} times the other" if factor else None


@cause(LIKELY, {"gradient"}, lesson="clipping", case="detached-before-clipping")
def other_backward(e: Evidence) -> str | None:
    """The same loss has another gradient, before both runs clip it.

    What the backward goes through differs.

    Compare the gradients right after backward. Look at detach(), frozen parts and terms
    that add nothing to the loss.
    """
    limits = [_limit(steps) for steps in e.steps]
    if limits[0] and limits[0] == limits[1]:
        return f"both clip at the norm {limits[0]:.4g}: the gradients differ before"
    return None


@cause(LIKELY, {"gradient"}, lesson="train", case="zero-grad-forgotten")
def zero_grad_forgotten(e: Evidence) -> str | None:
    """One run does not clear the gradients: they add up over the steps.

    Print a gradient right before backward: it must be None or zero.
    """
    if e.iteration == 1:
        return "the optimizer's first gradients are the same, its second are not"
    return None


@cause(POSSIBLE, {"gradient"}, lesson="clipping", case="clipped-by-value")
def gradient_changed(e: Evidence) -> str | None:
    """Something changes the gradient between backward and step: clipping by value, say.

    Or the backward goes through something else (detach).

    Compare the gradients right after backward. If they are the same there, look at what
    comes between; if not, at what the backward goes through.
    """
    return "the losses are the same up to here" if e.pair[0].loss else None


@cause(PROVEN, {"learning rate"}, lesson="schedule", case="scheduler-before-optimizer")
def scheduler_too_early(e: Evidence) -> str | None:
    """One run steps its scheduler earlier: before the optimizer or before the epoch.

    Call scheduler.step() after optimizer.step(), or at the end of the epoch.
    """
    if _changes_more_often(e):
        return None
    rates = [[step.lr[0] for step in steps] for steps in e.steps]
    for run, early, late in zip(e.runs, rates, rates[::-1], strict=True):
        following = [rate for rate, _ in groupby(late[e.step :])][1:]
        if following and early[e.step] == following[0]:
            return f"{run.name} has at step {e.step} what is the other's next rate"
    return None


@cause(PROVEN, {"learning rate"}, lesson="train", case="learning-rate-default")
def other_learning_rate(e: Evidence) -> str | None:
    """The learning rates differ from the start.

    Compare lr= of the optimizers and of their groups. A checkpoint that is loaded
    replaces a learning rate that was set in code.
    """
    if e.iteration == 0 and not scheduler_too_early.sign(e):
        one, other = (", ".join(map(str, dict.fromkeys(s.lr))) for s in e.pair)
        return f"{one} against {other}"
    return None


@cause(PROVEN, {"learning rate"}, lesson="schedule", case="manual-without-scheduler")
def scheduler_not_stepped(e: Evidence) -> str | None:
    """One run never steps its scheduler.

    Print the learning rate at each epoch. In manual optimization a Trainer steps no
    scheduler: call it yourself.
    """
    pairs = zip(e.runs, e.steps, strict=True)
    fixed = [run.name for run, steps in pairs if len({s.lr for s in steps}) == 1]
    if len(fixed) == 1 and e.iteration:
        return f"the learning rate of {fixed[0]} never changes"
    return None


@cause(PROVEN, {"learning rate"}, lesson="schedule", case="scheduler-every-step")
def scheduler_interval(e: Evidence) -> str | None:
    """One run steps its scheduler after each step, the other after each epoch.

    Print the learning rate at each step. A Trainer's interval is the epoch, unless
    configure_optimizers returns {"scheduler": ..., "interval": "step"}.
    """
    return None if scheduler_not_stepped.sign(e) else _changes_more_often(e)


def _changes_more_often(e: Evidence) -> str | None:
    one, other = (sum(x.lr != y.lr for x, y in pairwise(steps)) for steps in e.steps)
    fewer, more = sorted((one, other))
    if (fewer or e.iteration) and more > 2 * fewer + 1:
        return f"it changes {one} against {other} times"
    return None


@cause(LIKELY, {"learning rate"}, lesson="schedule", case="schedule-decays-faster")
def other_schedule(e: Evidence) -> str | None:
    """The schedules differ in their options.

    Print scheduler.state_dict() of both.
    """
    return f"the learning rates were the same up to step {e.step - 1}"


@cause(PROVEN, {"weights"}, lesson="resume", case="resumed-without-state")
def optimizer_state_lost(e: Evidence) -> str | None:
    """The optimizer starts from nothing in one run, without the state it had.

    Save and load optimizer.state_dict() along with the weights; make the optimizer
    once, not in every epoch.
    """
    (count_a, age_a), (count_b, age_b) = (step.state for step in e.pair)
    if (count_a != count_b and 0 in (count_a, count_b)) or age_a != age_b:
        return (
            f"{_state(count_a, age_a)} in {e.a.name}, {_state(count_b, age_b)} in"
            f" {e.b.name}"
        )
    return None


def _state(count: float, age: float) -> str:
    steps = f" of {age:.0f} steps" if age >= 0 else ""
    return f"{count:.0f} parameters have a state{steps}"


@cause(PROVEN, {"weights"}, lesson="train", case="adam-for-adamw")
def optimizer_class(e: Evidence) -> str | None:
    """The optimizers are of different kinds.

    Compare their classes. Adam adds weight decay to the gradient, AdamW to the weights.
    """
    one, other = e.optimizers
    return f"{one.name} against {other.name}" if one.name != other.name else None


@cause(PROVEN, {"weights"}, lesson="train", case="decay-on-everything")
def weight_decay_groups(e: Evidence) -> str | None:
    """The weight decay differs for some parameters: norms and biases, say.

    Print weight_decay of each of optimizer.param_groups, and its parameters.
    """
    text = _other_decay(e)
    return None if _decays_differ_everywhere(e) else text


@cause(PROVEN, {"weights"}, lesson="train", case="weight-decay-default")
def weight_decay(e: Evidence) -> str | None:
    """The weight decay differs.

    Compare weight_decay= of both: AdamW's default is 0.01, Adam's is 0.
    """
    text = _other_decay(e)
    return text if _decays_differ_everywhere(e) else None


def _other_decay(e: Evidence) -> str | None:
    return next((o for o in e.options() if o.startswith("weight_decay")), None)


def _decays_differ_everywhere(e: Evidence) -> bool:
    one, other = (
        [step.settings[group].get("weight_decay") for group in optimizer.groups]
        for step, optimizer in zip(e.pair, e.optimizers, strict=True)
    )
    return all(one[i] != other[j] for i, j in e.match.pairs)


@cause(PROVEN, {"weights"}, lesson="train", case="eps-of-another-library")
def optimizer_options(e: Evidence) -> str | None:
    """The optimizers have different options.

    Print both optimizers. Defaults differ between libraries: eps is 1e-8 in PyTorch and
    1e-7 in Keras.
    """
    if optimizer_class.sign(e):
        return None
    said_elsewhere = (*SAME_FORMULA, "weight_decay", "decoupled_weight_decay")
    return next((o for o in e.options() if not o.startswith(said_elsewhere)), None)


@cause(POSSIBLE, {"weights"}, lesson="hooks", case="weights-clamped")
def update_changed(e: Evidence) -> str | None:
    """The weights are changed around the step: clamped, or from another state.

    Compare optimizer.state_dict() before the step, and the weights after it.
    """
    return "gradient and learning rate are the same up to here"
