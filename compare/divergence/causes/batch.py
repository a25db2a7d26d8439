# ruff: noqa: D103 (the words of a sign stand in table.py)
"""Signs of a cause that is seen first in the batches or in the mode of the layers."""

from __future__ import annotations

from ...trace.run import Batch
from ..evidence import Evidence
from ..size import distance

_WORD = 1 << 64


def fewer_windows(e: Evidence) -> str | None:
    if e.pair and not several_calls(e):
        counts = [len(step.batch) for step in e.pair]
        if counts[0] != counts[1]:
            return f"step {e.step} was made of {counts[0]} against {counts[1]} batches"
    return None


def several_calls(e: Evidence) -> str | None:
    if not e.pair or len(e.pair[0].batch) == len(e.pair[1].batch):
        return None
    bags = [sum(b.bag[0] for b in step.batch if b) % _WORD for step in e.pair]
    if bags[0] == bags[1] and len(e.pair[0].loss) == len(e.pair[1].loss):
        counts = [len(step.batch) for step in e.pair]
        return (
            f"the same rows come in {counts[0]} against {counts[1]} calls, for a loss"
        )
    return None


def other_model(e: Evidence) -> str | None:
    for text, same in _made(e):
        if not same:
            return text
    return None


def state_carried(e: Evidence) -> str | None:
    for text, same in _made(e):
        if same:
            return text
    if e.other_inputs and e.pair and all(step.batch for step in e.pair):
        return f"the model is given {e.other_inputs}, and it were as many before"
    return None


def _made(e: Evidence) -> list[tuple[str, bool]]:
    """Return what was made by a model, in words, and whether by the same model."""
    if not e.batches:
        return []
    one, other = e.batches
    found = []
    for p, q, x, y in zip(one.made, other.made, one.hash, other.hash, strict=False):
        if x != y and p != q:
            words = [_when(made) for made in (p, q)]
            same = any(made and made[1] for made in (p, q))
            found.append(
                (f"it was {words[0]} in {e.a.name}, {words[1]} in {e.b.name}", same)
            )
    return found


def _when(made: tuple[int, bool] | None) -> str:
    if not made:
        return "no model's output"
    return (
        f"made by a model {made[0]} steps before"
        if made[0]
        else "made by a model just before"
    )


def rows_apart(e: Evidence) -> str | None:
    """Of several inputs, some are in another order and the others are not."""
    if e.batches and len(e.batches[0].hash) == len(e.batches[1].hash) > 1:
        one, other = e.batches
        moved = [x != y for x, y in zip(one.hash, other.hash, strict=True)]
        if one.bag == other.bag and True in moved and False in moved:
            return (
                f"input {moved.index(True)} has its rows in another order, not all have"
            )
    return None


def other_dtype(e: Evidence) -> str | None:
    if e.batches:
        one, other = e.batches
        if one.dtype != other.dtype and one.shape == other.shape:
            return f"{', '.join(one.dtype)} against {', '.join(other.dtype)}"
    return None


def batch_size(e: Evidence) -> str | None:
    sizes = None if e.detail == "in one step" else _sizes(e)
    if sizes and sizes[0] != sizes[1] and e.step == 0:
        return f"the first batch has {sizes[0]} against {sizes[1]} rows"
    return None


def drop_last(e: Evidence) -> str | None:
    sizes = None if e.detail == "in one step" else _sizes(e)
    if sizes and sizes[0] != sizes[1] and e.step > 0:
        return f"all went alike up to a batch of {min(sizes)} against {max(sizes)} rows"
    return None


def sequence_length(e: Evidence) -> str | None:
    shapes = _sample_shapes(e)
    if shapes and _is_longer(*shapes):
        return f"{shapes[0][0]} against {shapes[1][0]} places in each row"
    return None


def input_size(e: Evidence) -> str | None:
    shapes = _sample_shapes(e)
    if shapes and not _is_longer(*shapes):
        one, other = ("x".join(map(str, s)) or "scalar" for s in shapes)
        return f"each row is {one} against {other}"
    return None


def _sample_shapes(e: Evidence) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Return the shapes of a row, where the batches have the same number of rows."""
    sizes = _sizes(e)
    if e.batches and sizes and sizes[0] == sizes[1]:
        for one, other in zip(e.batches[0].shape, e.batches[1].shape, strict=False):
            if one[1:] != other[1:] and _product(one) != _product(other):
                return one[1:], other[1:]
    return None


def _is_longer(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return len(one) == len(other) in (1, 2) and one[1:] == other[1:]


def _product(shape: tuple[int, ...]) -> int:
    result = 1
    for size in shape:
        result *= size
    return result


def other_seed(e: Evidence) -> str | None:
    if e.quantity == "batch" and (_sample_shapes(e) or _unequal_sizes(e)):
        return None
    early = e.quantity == "batch" or (e.first_step and not e.calls_differ)
    if not early or (e.quantity != "batch" and not e.initial and not e.apart):
        return None
    return "; ".join(e.seeds)


def _unequal_sizes(e: Evidence) -> bool:
    sizes = _sizes(e)
    return bool(sizes and sizes[0] != sizes[1]) or e.detail == "in one step"


def order_repeats(e: Evidence) -> str | None:
    run = _repeater(e)
    return run and f"{run} has the same batches again from step {e.step} on"


def epoch_kept(e: Evidence) -> str | None:
    run = _repeater(e)
    for other, steps in e.sides:
        if run and other.name != run and len(e.sums(steps, e.step)) > 1:
            return f"{run} sees its first epoch again, and {other.name} does not"
    return None


def _repeater(e: Evidence) -> str | None:
    """Return the one run that has the batches of its beginning again."""
    if not e.step or len(e.before) < 2:
        return None
    found = [run.name for run, steps in e.sides if e.repeats_from(steps, e.step)]
    return found[0] if len(found) == 1 else None


def not_shuffled(e: Evidence) -> str | None:
    if e.step == 0 and e.epoch and len(e.pairs) >= 2 * e.epoch:
        fixed = [r.name for r, steps in e.sides if e.repeats_from(steps, e.epoch)]
        if len(fixed) == 1:
            return f"only {fixed[0]} has the same order in every epoch"
    return None


def other_draws(e: Evidence) -> str | None:
    """Tell whether a generator differs at an epoch's start."""
    if e.at_epoch_start and e.apart and not _repeater(e):
        return f"the generators differ at the start of this epoch: {', '.join(e.apart)}"
    return None


def own_generator(e: Evidence) -> str | None:
    if e.at_epoch_start and not e.apart and e.same_samples and not _repeater(e):
        return "the global generators stand alike, yet the new order is another one"
    return None


def sanity_pass(e: Evidence) -> str | None:
    """Tell an evaluation before training; a Trainer's puts the generators back."""
    one, other = e.before_training
    if e.step == 0 and e.apart and bool(one) != bool(other) and not e.seeds:
        which = e.a.name if one else e.b.name
        if which != e.trainer:
            return (
                f"only {which} evaluates before its first step; the generators differ"
            )
    return None


def drawn_first(e: Evidence) -> str | None:
    if e.step or not e.apart or e.seeds or e.initial or sanity_pass(e):
        return None
    if not augmentation(e) and not preprocessing_linear(e):
        return f"the generators differ at step 0: {', '.join(e.apart)}"
    return None


def drawn_in_loop(e: Evidence) -> str | None:
    if e.step > 0 and e.apart and not (e.quantity == "batch" and e.at_epoch_start):
        return (
            "the generators differ before this forward, and did not before:"
            f" {', '.join(e.apart)}"
        )
    return None


def other_order(e: Evidence) -> str | None:
    if e.same_samples and not e.at_epoch_start:
        return "later the same samples were seen in both runs"
    return None


def augmentation(e: Evidence) -> str | None:
    if _other_values(e) and _alike(e) and not preprocessing_linear(e):
        return "the same shape and about the same mean, but other values"
    return None


def preprocessing_linear(e: Evidence) -> str | None:
    """Tell whether the first values are those of the other, scaled and shifted."""
    if not _other_values(e) or not e.batches or e.rounding:
        return None
    for one, other in zip(e.batches[0].head, e.batches[1].head, strict=False):
        if one != other and len(one) == len(other) == 3 and one[1] != one[0]:
            scale = (other[1] - other[0]) / (one[1] - one[0])
            shift = other[0] - scale * one[0]
            size = max(map(abs, other)) or 1.0
            if scale and abs(scale * one[2] + shift - other[2]) < 1e-4 * size:
                return (
                    f"its first values are {scale:.4g} times the other's, {shift:+.4g}"
                )
    return None


def preprocessing(e: Evidence) -> str | None:
    if _other_values(e) and e.batches and not augmentation(e):
        one, other = (batch.mean[0] for batch in e.batches)
        return f"the mean of the batch is {one:.6g} against {other:.6g}"
    return None


def _other_values(e: Evidence) -> bool:
    return bool(e.batches) and not (
        e.same_samples or _sample_shapes(e) or _unequal_sizes(e)
    )


def _sizes(e: Evidence) -> tuple[int, int] | None:
    """Return the numbers of rows of the two batches."""
    if not e.batches:
        return None
    one, other = ((batch.shape[0] or (1,))[0] for batch in e.batches)
    return one, other


def _alike(e: Evidence) -> bool:
    """Tell whether two batches have about the same mean and size."""
    if not e.batches or e.batches[0].shape != e.batches[1].shape:
        return False
    one, other = e.batches
    for x, y in zip(_moments(one), _moments(other), strict=True):
        if distance(x[1], y[1]) > 0.1 or abs(x[0] - y[0]) > 0.2 * max(x[1], y[1]):
            return False
    return True


def _moments(batch: Batch) -> list[tuple[float, float]]:
    """Return mean and root mean square of each tensor."""
    parts = zip(batch.mean, batch.norm, batch.shape, strict=True)
    return [
        (mean, norm / max(1, _product(shape)) ** 0.5) for mean, norm, shape in parts
    ]


def frozen_layers_mode(e: Evidence) -> str | None:
    if e.pair and any(";" in mode for step in e.pair for mode in step.mode):
        return " against ".join(", ".join(dict.fromkeys(s.mode)) for s in e.pair)
    return None


def eval_before_fit(e: Evidence) -> str | None:
    if e.step == 0 and not frozen_layers_mode(e):
        return "the modes differ from the first step on"
    return None


def train_forgotten(e: Evidence) -> str | None:
    if e.step > 0 and not frozen_layers_mode(e):
        return f"the modes were alike until step {e.step}"
    return None
