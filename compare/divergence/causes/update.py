# ruff: noqa: D401 (a rule's docstring is what the user reads)
"""Causes seen first in the gradient, the learning rate or the weights."""

from __future__ import annotations

from itertools import pairwise

from compare.divergence.causes.rule import cause
from compare.divergence.evidence import Evidence
from compare.trace.run import NAMELESS, NO_TENSOR


@cause("gradient", lesson="transfer")
def parameters_left_out(e: Evidence) -> str | None:
    """The optimizers do not hold the same parameters.

    Compare the names given to the optimizers. One made before a layer was replaced
    updates the old layer.
    """
    if e.match and e.optimizers:
        one, other = e.optimizers
        alone = [one.names[i] for i in e.match.only_a]
        alone += [other.names[j] for j in e.match.only_b]
        if alone:
            return f"{alone[0]}, one of {len(alone)}, is in one optimizer only"
        for run, optimizer in zip((e.a, e.b), e.optimizers, strict=True):
            lost = [name for name in optimizer.names if name.startswith(NAMELESS)]
            if lost and e.match.how == "position":
                return f"{lost[0]} of the optimizer in {run.name} is in no model"
    return None


@cause("gradient", lesson="transfer")
def frozen(e: Evidence) -> str | None:
    """Parameters are frozen, or cut off from the loss, in one run only.

    Print [n for n, p in model.named_parameters() if p.grad is None] after backward.
    """
    if e.pair and e.match and e.optimizers:
        one, other = (step.gradient for step in e.pair)
        for i, j in e.match.pairs:
            if (one.part(i) == NO_TENSOR) != (other.part(j) == NO_TENSOR):
                return f"{e.optimizers[0].names[i]} has a gradient in one run only"
    return None


@cause("gradient", lesson="precision")
def clipped_before_unscaling(e: Evidence) -> str | None:
    """One run clips gradients that are still multiplied by the loss scale.

    Call scaler.unscale_(optimizer) before clip_grad_norm_.
    """
    if e.pair:
        small, large = sorted(step.gradient.norm for step in e.pair)
        if (
            small
            and large / small > 1000
            and any(abs(x) > 1000 for x in e.pair[0].loss)
        ):
            return f"the loss is scaled, and the norms are {small:.3g} and {large:.3g}"
    return None


@cause("gradient", lesson="clipping")
def clipped_by_norm(e: Evidence) -> str | None:
    """Only one run clips the gradient by its norm, or they clip at different norms.

    Compare clip_grad_norm_ and gradient_clip_val; print the norm before clipping.
    """
    limits = []
    for run, steps in e.sides:
        norms = [step.gradient.norm for step in steps]
        limit = max(norms)
        at_limit = sum(norm > limit * 0.9999 for norm in norms)
        if at_limit > 1 and at_limit >= len(norms) / 10:
            limits.append(f"in {run.name} {at_limit} steps have the norm {limit:.4g}")
    return " and ".join(limits)


@cause("gradient", lesson="train")
def zero_grad_forgotten(e: Evidence) -> str | None:
    """One run does not clear the gradients: they add up over the steps.

    Print a gradient right before backward: it must be None or zero.
    """
    if e.pair and e.step == 1:
        return "the first gradient is the same and the second is not, at the same loss"
    return None


@cause("gradient", lesson="distributed")
def gradient_factor(e: Evidence) -> str | None:
    """The gradient is a multiple of the other: summed and not averaged, or scaled.

    Divide by the number of processes, or of accumulated batches; unscale before step.
    """
    if e.pair:
        small, large = sorted(step.gradient.norm for step in e.pair)
        factor = round(large / small) if small else 0
        if factor > 1 and abs(large / small - factor) < 1e-4 * factor:
            return f"one norm is {factor} times the other"
    return None


@cause("gradient", lesson="clipping")
def gradient_changed(e: Evidence) -> str | None:
    """Something changes the gradient between backward and step: clipping by value, say.

    Compare the gradients right after backward. If they are the same there, look at what
    comes between; if not, at what the backward goes through.
    """
    return "the losses are the same up to here" if e.pair else None


@cause("learning rate", lesson="schedule")
def scheduler_too_early(e: Evidence) -> str | None:
    """One run steps its scheduler before the optimizer, and skips the first value.

    Call scheduler.step() after optimizer.step().
    """
    if e.step == 0 and len(e.pairs) > 1:
        (one, other), (next_one, next_other) = e.pairs[:2]
        if one.lr == next_other.lr or other.lr == next_one.lr:
            return "one run has at step 0 the learning rate of the other's step 1"
    return None


@cause("learning rate", lesson="train")
def other_learning_rate(e: Evidence) -> str | None:
    """The learning rates differ from the start.

    Compare lr= of the optimizers. A learning rate set in code loses to the one in a
    checkpoint that is loaded.
    """
    if e.pair and e.step == 0:
        return f"{e.pair[0].lr[0]} against {e.pair[1].lr[0]}"
    return None


@cause("learning rate", lesson="schedule")
def scheduler_not_stepped(e: Evidence) -> str | None:
    """One run never steps its scheduler.

    Print the learning rate at each epoch. In manual optimization a Trainer steps no
    scheduler: call it yourself.
    """
    for run, steps in e.sides:
        if len({step.lr for step in steps}) == 1:
            return f"the learning rate of {run.name} never changes"
    return None


@cause("learning rate", lesson="schedule")
def scheduler_interval(e: Evidence) -> str | None:
    """One run steps its scheduler after each step, the other after each epoch.

    Print the learning rate at each step. A Trainer's interval is the epoch, unless
    configure_optimizers returns {"scheduler": ..., "interval": "step"}.
    """
    changes = [
        sum(one.lr != other.lr for one, other in pairwise(steps))
        for _, steps in e.sides
    ]
    if changes[0] != changes[1]:
        return f"it changes {changes[0]} against {changes[1]} times"
    return None


@cause("learning rate", lesson="schedule")
def other_schedule(e: Evidence) -> str | None:
    """The schedules differ in their options.

    Print scheduler.state_dict() of both.
    """
    return f"the learning rates were the same up to step {e.step - 1}"


@cause("weights", lesson="train")
def optimizer_class(e: Evidence) -> str | None:
    """The optimizers are of different kinds.

    Compare their classes. Adam adds weight decay to the gradient, AdamW to the weights.
    """
    if e.optimizers and e.optimizers[0].name != e.optimizers[1].name:
        return f"{e.optimizers[0].name} against {e.optimizers[1].name}"
    return None


@cause("weights", lesson="checkpoint")
def optimizer_state_lost(e: Evidence) -> str | None:
    """A new optimizer takes over in one run, without the old one's state.

    Save and load optimizer.state_dict() along with the weights.
    """
    if e.pair and e.step > 0:
        for index, run in enumerate((e.a, e.b)):
            now, last = (p[index].optimizer for p in (e.pair, e.before[-1]))
            same = run.optimizers[now].names == run.optimizers[last].names
            if now != last and same:
                return f"{run.name} makes a new {run.optimizers[now].name} at this step"
    return None


@cause("weights", lesson="train")
def weight_decay(e: Evidence) -> str | None:
    """The weight decay differs.

    Compare weight_decay= of the optimizers, and which parameters it is for.
    """
    return _option(e, ("weight_decay",))


@cause("weights", lesson="train")
def optimizer_options(e: Evidence) -> str | None:
    """The optimizers have different options.

    Print both optimizers. Defaults differ between libraries: eps is 1e-8 in PyTorch
    and 1e-7 in Keras.
    """
    every = e.optimizers[0].settings[0] if e.optimizers else {}
    return _option(e, tuple(every))


@cause("weights", lesson="hooks")
def update_changed(e: Evidence) -> str | None:
    """The weights are changed around the step: clamped, tied, or from another state.

    Compare optimizer.state_dict() before the step, and the weights right after it.
    """
    return "gradient and learning rate are the same up to here" if e.pair else None


def _option(e: Evidence, keys: tuple[str, ...]) -> str | None:
    if e.optimizers:
        for one, other in zip(*(o.settings for o in e.optimizers), strict=False):
            for key in keys:
                if one.get(key) != other.get(key):
                    return f"{key} is {one.get(key)} against {other.get(key)}"
    return None
