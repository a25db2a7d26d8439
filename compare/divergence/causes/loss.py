# ruff: noqa: D103, SIM102 (the words of a sign stand in table.py)
"""Signs of a cause that is seen first in the loss."""

from __future__ import annotations

from itertools import zip_longest

from ...trace.run import LossCall
from ..evidence import Evidence
from ..size import distance
from . import batch

_NO_DRAWS = ("(Dropout", "(AlphaDropout", "(FeatureAlphaDropout")


def gradients_kept(e: Evidence) -> str | None:
    """In a closure that is called again, gradients add up."""
    if not e.pair or min(len(step.closure) for step in e.pair) < 2:
        return None
    one, other = e.pair
    pairs = zip(one.loss, other.loss, one.closure, other.closure, strict=False)
    for number, (loss, loss_b, norm, norm_b) in enumerate(pairs, 1):
        if loss == loss_b and norm != norm_b and number > 1:
            return (
                f"the gradient of evaluation {number} is {norm:.4g} against"
                f" {norm_b:.4g}, at the same loss, and that of the first is the same"
            )
    return None


def no_backward(e: Evidence) -> str | None:
    if e.pair and [] in [list(step.loss) for step in e.pair]:
        side = [list(step.loss) for step in e.pair].index([])
        if len(e.pair[1 - side].loss):
            return f"{e.runs[side].name} has no backward before this step"
    return None


def tied_weights(e: Evidence) -> str | None:
    one, other = e.tied()
    counts = [sum(map(len, ties)) for ties in (one, other)]
    if counts[0] != counts[1]:
        names = max((one, other), key=lambda ties: sum(map(len, ties)))
        which = e.a.name if counts[0] > counts[1] else e.b.name
        return f"only in {which} are {' and '.join(next(iter(names)))} one tensor"
    return None


def other_layers(e: Evidence) -> str | None:
    """Compare layers with parameters, and dropout; others may be functions."""
    if any(e.compiled):
        return None
    kept = [
        [x for x in run.layers if not x.startswith("(") or x.startswith(_NO_DRAWS)]
        for run in e.runs
    ]
    lists = kept
    if kept[0] == kept[1] and len(e.a.layers) == len(e.b.layers):
        lists = [list(run.layers) for run in e.runs]
    for one, other in zip_longest(*lists):
        if one is None or other is None:
            return f"{len(lists[0])} against {len(lists[1])} layers were called"
        if one != other:
            return f"{one.strip('(') if one[0] == '(' else one} against {other}"
    return None


def other_precision(e: Evidence) -> str | None:
    if e.pair and all(s.precision for s in e.pair):
        one, other = (", ".join(dict.fromkeys(s.precision)) for s in e.pair)
        return f"{one} against {other}" if one != other else None
    return None


def compiled_dropout(e: Evidence) -> str | None:
    if e.compiled[0] != e.compiled[1] and not e.rounding:
        plain = e.runs[e.compiled.index(False)]
        random = [x for x in plain.layers if "ropout" in x and "p=0.0" not in x]
        if random:
            return f"only one model is compiled, and it has {random[0].strip('()')})"
    return None


def not_loaded(e: Evidence) -> str | None:
    if e.other_start and "torch" not in e.apart:
        return f"{e.initial[0]} differs before the first step; the generators agree"
    return None


def drawn_before_model(e: Evidence) -> str | None:
    if e.other_start and "torch" in e.apart and not e.seeds:
        return f"{e.initial[0]} differs before the first step, and so do the generators"
    return None


def prefetched(e: Evidence) -> str | None:
    """Tell a Trainer that draws the next batch before this step's numbers."""
    if e.step or not e.trainer or e.initial or e.seeds or "torch" not in e.apart:
        return None
    same = e.quantity == "loss" or len(e.pair[0].batch if e.pair else ()) > 1
    rest = e.pairs[1:2]
    fed = any(x.batch != y.batch for x, y in rest) if e.quantity == "loss" else True
    if same and fed and not batch.sanity_pass(e):
        return f"{e.trainer} has a Trainer, and has drawn more before the first forward"
    return None


def drawn_after_model(e: Evidence) -> str | None:
    if e.step == 0 and not e.initial and e.apart and not e.seeds:
        return f"the weights agree, the generators do not: {', '.join(e.apart)}"
    return None


def softmax_twice(e: Evidence) -> str | None:
    for calls in e.calls:
        twice = [_is_squashed(call) for call in calls]
        if twice[0] != twice[1]:
            run, call = e.runs[twice.index(True)], calls[twice.index(True)]
            return f"{call.name} is given probabilities in {run.name} only"
    return None


def _is_squashed(call: LossCall) -> bool:
    """Tell whether a loss that expects scores was given their softmax or sigmoid."""
    if not call.spread or not 0 <= call.spread[0] <= call.spread[1] <= 1:
        return False
    if call.name == "cross_entropy":
        return call.spread[2] < 1e-2
    return call.name == "binary_cross_entropy_with_logits"


def other_loss(e: Evidence) -> str | None:
    for one, other in e.calls:
        if one.name != other.name and not _is_same_formula(one, other):
            return f"{one.name} against {other.name}"
    if e.pair and e.calls_differ and not e.calls:
        name = next(call.name for step in e.pair for call in step.functions)
        return f"{name} is called in one run only"
    return None


def _is_same_formula(one: LossCall, other: LossCall) -> bool:
    """Tell cross_entropy from nll_loss of a log_softmax: both give the same value."""
    both = {one.name, other.name} == {"cross_entropy", "nll_loss"}
    values = one.value, other.value
    return (
        both
        and None not in values
        and distance(one.value or 0, other.value or 0) < 1e-5
    )


def shapes_broadcast(e: Evidence) -> str | None:
    for one, other in e.calls:
        unequal = [
            len(call.arguments.shape) > 1
            and len(call.arguments.shape[0]) != len(call.arguments.shape[1])
            and call.name not in ("cross_entropy", "nll_loss", "ctc_loss")
            for call in (one, other)
        ]
        if unequal[0] != unequal[1]:
            side = unequal.index(True)
            shapes = (one, other)[side].arguments.shape[:2]
            words = " and ".join("x".join(map(str, s)) or "scalar" for s in shapes)
            return f"in {e.runs[side].name} prediction and target are {words}"
    return None


def targets_padded(e: Evidence) -> str | None:
    for one, other in e.calls:
        if one.ignored != other.ignored and one.name == other.name:
            return f"{one.ignored} against {other.ignored} targets are left out"
    return None


def token_mean(e: Evidence) -> str | None:
    """Each micro-batch has a mean of its own, and the means do not weigh the same."""
    if not e.pair or not len(e.pair[0].loss) == len(e.pair[1].loss) > 1:
        return None
    if e.pair[0].closure or _differs(e, 0) or _other_name(e):
        return None
    ratios = [x / y for x, y in zip(e.pair[0].loss, e.pair[1].loss, strict=True) if y]
    low, high = min(ratios, default=0), max(ratios, default=0)
    if high > 1.0001 * low > 0:
        return f"the losses of one step differ by factors from {low:.4g} to {high:.4g}"
    return None


def not_divided(e: Evidence) -> str | None:
    factor = _factor(e)
    if e.pair and factor and not token_mean(e):
        windows = len(e.pair[0].loss)
        values = [(x.value, y.value) for x, y in e.calls]
        same = all(x == y for x, y in values)
        if windows > 1 and factor == windows and same:
            return f"{windows} batches a step, and the loss is {factor} times the other"
    return None


def loss_reduction(e: Evidence) -> str | None:
    for one, other in e.calls:
        how = [call.options.get("reduction") for call in (one, other)]
        if how[0] != how[1] and one.name == other.name and not token_mean(e):
            return f"reduction is {how[0]} against {how[1]}"
    factor = _factor(e)
    if factor and not e.calls and not not_divided(e):
        return f"one loss is {factor} times the other"
    return None


def loss_scaled(e: Evidence) -> str | None:
    """Tell the same result of the function before another number in backward."""
    if e.pair and e.calls and not e.calls_differ and not not_divided(e):
        if all(x == y for x, y in e.calls) and not token_mean(e):
            return f"{e.calls[0][0].name} gives the same, and backward starts elsewhere"
    return None


def loss_options(e: Evidence) -> str | None:
    for one, other in e.calls:
        if one.name != other.name:
            continue
        keys = one.options.keys() | other.options.keys()
        for key in sorted(keys - {"reduction"}):
            if one.options.get(key) != other.options.get(key):
                return (
                    f"{key} is {one.options.get(key)} against {other.options.get(key)}"
                )
        if _differs(e, 2):
            return f"{one.names[2]} differs"
    return None


def loss_outside_autocast(e: Evidence) -> str | None:
    for one, other in e.calls:
        if one.autocast != other.autocast:
            where = e.a.name if one.autocast else e.b.name
            return f"{one.name} runs under autocast in {where} only"
    if (
        e.step == 0
        and not e.calls
        and e.pair
        and "autocast" in str(e.pair[0].precision)
    ):
        return "both forwards run under autocast, yet the first loss differs"
    return None


def other_target(e: Evidence) -> str | None:
    if _differs(e, 1) and not _differs(e, 0) and not other_loss(e):
        one, other = next(
            (x, y) for x, y in e.calls if _argument(x, 1) != _argument(y, 1)
        )
        means = [call.arguments.mean[1] for call in (one, other)]
        return f"the targets' mean is {means[0]:.6g} against {means[1]:.6g}"
    return None


def other_forward(e: Evidence) -> str | None:
    if e.pair and e.step == 0 and not (e.initial or e.apart) and _other_output(e):
        if not any(e.compiled) and not other_layers(e):
            return "the same batch, weights and layers, yet another output"
    return None


def other_after(e: Evidence) -> str | None:
    if e.pair and e.step == 0 and not e.initial and not _other_output(e):
        if not e.calls or e.calls_differ or _differs(e, 0):
            return "weights and the last layer's output are the same, yet another loss"
    return None


def batch_unseen(e: Evidence) -> str | None:
    if e.pair and not (e.pair[0].batch and e.pair[1].batch):
        return "the batch of this step was not seen"
    return None


def changed_outside(e: Evidence) -> str | None:
    if (
        e.step > 0
        and not batch_unseen(e)
        and not e.apart
        and not (_differs(e, 1) and not _differs(e, 0))
    ):
        return (
            "batch, mode, generators and the weights after the last step are the same"
        )
    return None


def _other_output(e: Evidence) -> bool:
    """Tell whether a last layer gives something else; not, where it was not seen."""
    if not e.pair:
        return False
    pairs = zip(e.pair[0].output, e.pair[1].output, strict=False)
    return any(x and y and x.parts != y.parts for x, y in pairs)


def _argument(call: LossCall, place: int) -> str | None:
    hashes = call.arguments.hash
    return hashes[place] if place < len(hashes) else None


def _differs(e: Evidence, place: int) -> bool:
    """Tell whether this argument of a loss function differs: 0 prediction, 1 target."""
    return any(_argument(x, place) != _argument(y, place) for x, y in e.calls[:1])


def _other_name(e: Evidence) -> bool:
    return any(x.name != y.name for x, y in e.calls)


def _factor(e: Evidence) -> int | None:
    """Return n when one loss is n times the other (but for rounding), n > 1."""
    if not e.pair or len(e.pair[0].loss) != len(e.pair[1].loss):
        return None
    one, other = sum(e.pair[0].loss), sum(e.pair[1].loss)
    small, large = sorted((abs(one), abs(other)))
    if not small or not one * other > 0:
        return None
    factor = round(large / small)
    return (
        factor if factor > 1 and abs(large / small - factor) < 1e-4 * factor else None
    )
