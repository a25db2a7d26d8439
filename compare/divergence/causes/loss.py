# ruff: noqa: D401 (the docstring of a cause says what happened)
"""Causes that are seen first in the loss."""

from __future__ import annotations

from ...trace.run import LossCall
from ..evidence import Evidence
from ..size import distance
from .cause import LIKELY, POSSIBLE, PROVEN, cause
from .start import other_output, unseen_batch


@cause(PROVEN, {"loss", "gradient"}, lesson="closure", case="closure-keeps-gradients")
def closure_keeps_gradients(e: Evidence) -> str | None:
    """Gradients are not cleared inside the closure: they add up over its calls.

    Call optimizer.zero_grad() as the first line of the closure.
    """
    one, other = e.pair
    calls = zip(one.loss, other.loss, one.closure, other.closure, strict=False)
    for number, (loss_a, loss_b, norm_a, norm_b) in enumerate(calls, 1):
        if loss_a == loss_b and norm_a != norm_b and number > 1:
            return (
                f"the gradient of evaluation {number} is {norm_a:.4g} against"
                f" {norm_b:.4g}, at the same loss, and that of the first is the same"
            )
    return None


@cause(PROVEN, {"loss"}, lesson="train", case="stepped-twice")
def step_without_backward(e: Evidence) -> str | None:
    """One run takes a step without a backward before it: twice for one batch, say.

    Call optimizer.step() once for each batch or window of batches.
    """
    has_loss = [bool(step.loss) for step in e.pair]
    if has_loss[0] == has_loss[1]:
        return None
    return f"{e.runs[has_loss.index(False)].name} has no backward before this step"


@cause(PROVEN, {"loss"}, lesson="train", case="softmax-twice")
def softmax_twice(e: Evidence) -> str | None:
    """The model ends in a softmax or sigmoid, and the loss has one of its own.

    Give cross_entropy and binary_cross_entropy_with_logits the scores themselves.
    """
    for calls in e.calls:
        squashed = [_is_squashed(call) for call in calls]
        if squashed[0] != squashed[1]:
            where = squashed.index(True)
            name = e.runs[where].name
            return f"{calls[where].name} is given probabilities in {name} only"
    return None


def _is_squashed(call: LossCall) -> bool:
    """Tell whether a loss that expects scores was given their softmax or sigmoid."""
    if not call.spread or not 0 <= call.spread[0] <= call.spread[1] <= 1:
        return False
    if call.name == "cross_entropy":
        return call.spread[2] < 1e-2
    return call.name == "binary_cross_entropy_with_logits"


@cause(PROVEN, {"loss"}, lesson="train", case="loss-replaced")
def other_loss_function(e: Evidence) -> str | None:
    """Another loss function is called.

    Compare the two.
    """
    for one, other in e.calls:
        if one.name != other.name and not _is_same_formula(one, other):
            return f"{one.name} against {other.name}"
    names = [call.name for step in e.pair for call in step.functions]
    return f"{names[0]} is called in one run only" if names and not e.calls else None


def _is_same_formula(one: LossCall, other: LossCall) -> bool:
    """Tell cross_entropy from nll_loss of a log_softmax: both give the same value."""
    if {one.name, other.name} != {"cross_entropy", "nll_loss"}:
        return False
    return distance(one.value or 0, other.value or 0) < 1e-5


@cause(PROVEN, {"loss"}, lesson="train", case="shapes-broadcast")
def shapes_broadcast(e: Evidence) -> str | None:
    """Prediction and target have different shapes in one run, and are broadcast.

    Each prediction meets every target.

    Give both the same shape: prediction.squeeze(1), or target.unsqueeze(1).
    """
    for calls in e.calls:
        broadcast = [_is_broadcast(call) for call in calls]
        if broadcast[0] != broadcast[1]:
            where = broadcast.index(True)
            shapes = calls[where].shape, *calls[where].arguments.shape[:1]
            words = " and ".join("x".join(map(str, s)) or "scalar" for s in shapes)
            return f"in {e.runs[where].name} prediction and target are {words}"
    return None


def _is_broadcast(call: LossCall) -> bool:
    if call.name in ("cross_entropy", "nll_loss", "ctc_loss"):
        return False
    return any(len(shape) != len(call.shape) for shape in call.arguments.shape[:1])


@cause(PROVEN, {"loss"}, lesson="train", case="targets-padded")
def targets_padded(e: Evidence) -> str | None:
    """Padding counts as a target in one run only.

    Set padded targets to ignore_index, which is -100 unless you change it.
    """
    for one, other in e.calls:
        if one.ignored != other.ignored and one.name == other.name:
            return f"{one.ignored} against {other.ignored} targets are left out"
    return None


@cause(PROVEN, {"loss"}, lesson="accumulation", case="mean-of-means")
def token_mean(e: Evidence) -> str | None:
    """Over accumulated batches, one run takes the mean of their means.

    The other takes the mean over all targets.

    Sum the losses, and divide by the number of targets in all batches of a step.
    """
    losses_a, losses_b = e.pair[0].loss, e.pair[1].loss
    if not len(losses_a) == len(losses_b) > 1 or e.pair[0].closure:
        return None
    if _predictions_differ(e) or any(x.name != y.name for x, y in e.calls):
        return None
    ratios = [x / y for x, y in zip(losses_a, losses_b, strict=True) if y]
    low, high = min(ratios, default=0), max(ratios, default=0)
    if high > 1.0001 * low > 0:
        return f"the losses of one step differ by factors from {low:.4g} to {high:.4g}"
    return None


@cause(PROVEN, {"loss"}, lesson="accumulation", case="accumulation-not-divided")
def loss_not_divided(e: Evidence) -> str | None:
    """Only one run divides the loss by the number of accumulated batches.

    Print the loss before and after the division. A Trainer always divides by
    accumulate_grad_batches.
    """
    factor, batches = _factor(e), len(e.pair[0].loss)
    same_values = all(x.value == y.value for x, y in e.calls)
    if factor == batches > 1 and same_values and not token_mean.sign(e):
        return f"{batches} batches a step, and the loss is {factor} times the other"
    return None


@cause(PROVEN, {"loss"}, lesson="train", case="loss-summed")
def loss_reduction(e: Evidence) -> str | None:
    """One loss is a mean and the other a sum.

    Look at reduction= of the loss.
    """
    for one, other in e.calls:
        how = [call.options.get("reduction") for call in (one, other)]
        if how[0] != how[1] and one.name == other.name and not token_mean.sign(e):
            return f"reduction is {how[0]} against {how[1]}"
    factor = _factor(e)
    if factor and not e.calls and not loss_not_divided.sign(e):
        return f"one loss is {factor} times the other"
    return None


@cause(PROVEN, {"loss"}, lesson="train", case="label-smoothing-left-out")
def loss_options(e: Evidence) -> str | None:
    """The loss function has other options, or other weights of the classes.

    Print the loss, and its weight.
    """
    for one, other in e.calls:
        if one.name != other.name:
            continue
        for key in sorted((one.options.keys() | other.options.keys()) - {"reduction"}):
            # what is no option there was given as a tensor
            values = [call.options.get(key, "a tensor") for call in (one, other)]
            if values[0] != values[1]:
                return f"{key} is {values[0]} against {values[1]}"
        if _differs(e, _WEIGHT):
            return f"{one.names[_WEIGHT]} differs"
    return None


@cause(PROVEN, {"loss"}, lesson="precision", case="loss-outside-autocast")
def loss_outside_autocast(e: Evidence) -> str | None:
    """Only one run calculates the loss itself under autocast.

    Move the loss into the torch.autocast block: a Trainer's covers both.
    """
    for one, other in e.calls:
        if one.autocast != other.autocast:
            name = (e.a if one.autocast else e.b).name
            return f"{one.name} runs under autocast in {name} only"
    if e.step == 0 and not e.calls and "autocast" in str(e.pair[0].precision):
        return "both forwards run under autocast, yet the first loss differs"
    return None


@cause(PROVEN, {"loss"}, lesson="train", case="targets-shifted")
def other_target(e: Evidence) -> str | None:
    """The targets differ.

    Print the targets of the first batch.
    """
    if not _other_targets_alone(e) or other_loss_function.sign(e):
        return None
    one, other = (call.arguments.mean[_TARGET] for call in e.calls[0])
    return f"the targets' mean is {one:.6g} against {other:.6g}"


@cause(PROVEN, {"loss"}, lesson="train", case="loss-weighted")
def loss_scaled(e: Evidence) -> str | None:
    """The loss function gives the same, and its result is changed in one run only.

    It is weighted, or divided, or a penalty is added.

    Print the loss right before backward.
    """
    if not e.calls or e.calls_differ or any(one != other for one, other in e.calls):
        return None
    if loss_not_divided.sign(e) or token_mean.sign(e):
        return None
    return f"{e.calls[0][0].name} gives the same, and backward starts elsewhere"


@cause(LIKELY, {"loss"}, lesson="train", case="loss-by-hand")
def other_loss_by_hand(e: Evidence) -> str | None:
    """The targets differ, or what is calculated after the model's last layer.

    Print the model's output, the targets and the loss of the first batch.
    """
    if e.step or e.initial or other_output(e):
        return None
    if not e.calls or e.calls_differ or _predictions_differ(e):
        return "weights and the last layer's output are the same, yet another loss"
    return None


@cause(
    POSSIBLE, {"loss", "gradient"}, lesson="averaging", case="average-not-swapped-back"
)
def weights_changed_outside(e: Evidence) -> str | None:
    """Weights, buffers or a state in the model were changed, not by the optimizer.

    Or the forward depends on the step.

    Compare a weight right after a step and before the next. Look for averaged weights
    (EMA, SWA) that are not swapped back, a checkpoint that is loaded, and clamping.
    """
    if e.step == 0 or e.generators_apart or unseen_batch.sign(e):
        return None
    if _other_targets_alone(e):
        return None
    return "batch, mode, generators and the weights after the last step are the same"


_TARGET, _WEIGHT = 0, 1  # places among the arguments of a loss function


def _differs(e: Evidence, place: int) -> bool:
    """Tell whether this argument of the first loss function differs."""
    return any(
        one.arguments.hash[place : place + 1] != other.arguments.hash[place : place + 1]
        for one, other in e.calls[:1]
    )


def _predictions_differ(e: Evidence) -> bool:
    """Tell whether the first loss function is given another prediction."""
    pairs = [(one.prediction, other.prediction) for one, other in e.calls[:1]]
    comparable = e.comparison.weights_comparable
    return comparable and any(one.hash != other.hash for one, other in pairs)


def _other_targets_alone(e: Evidence) -> bool:
    """Tell whether only the targets of the first loss function differ."""
    return _differs(e, _TARGET) and not _predictions_differ(e)


def _factor(e: Evidence) -> int | None:
    """Return n when one loss is n times the other (but for rounding), n > 1."""
    if len(e.pair[0].loss) != len(e.pair[1].loss):
        return None
    one, other = sum(e.pair[0].loss), sum(e.pair[1].loss)
    return whole_factor(one, other) if one * other > 0 else None


def whole_factor(one: float, other: float) -> int | None:
    """Return n when one number is n times the other (but for rounding), n > 1."""
    small, large = sorted((abs(one), abs(other)))
    factor = round(large / small) if small else 0
    is_whole = small and abs(large / small - factor) < 1e-4 * factor
    return factor if is_whole and factor > 1 else None
