# ruff: noqa: D401 (the docstring of a cause says what happened)
"""Causes that change what is in the batches."""

from __future__ import annotations

from ...trace.run import Step
from ..evidence import Evidence
from .batches import (
    has_other_values,
    looks_augmented,
    row_counts,
    row_shapes,
    scaling,
    sum_of_rows,
)
from .cause import LIKELY, POSSIBLE, PROVEN, cause


@cause(PROVEN, {"batch"}, lesson="train", case="views-joined")
def one_call_against_several(e: Evidence) -> str | None:
    """One run sends the rows through the model in one call, the other in several.

    BatchNorm and dropout notice.

    Call the model once for each part in both runs, or join the parts in both.
    """
    one, other = e.pair
    same_rows = sum_of_rows([one]) == sum_of_rows([other])
    if e.counts[0] != e.counts[1] and same_rows and len(one.loss) == len(other.loss):
        return f"the same rows come in {e.counts[0]} against {e.counts[1]} calls"
    return None


@cause(PROVEN, {"batch"}, lesson="accumulation", case="accumulation-carried-over")
def accumulation_window(e: Evidence) -> str | None:
    """The runs take different numbers of batches before a step.

    Count the calls of the model and of backward per step. Lightning always steps on an
    epoch's last batch, even when the window is not full, and divides by
    accumulate_grad_batches all the same.
    """
    if e.counts[0] == e.counts[1] or one_call_against_several.sign(e):
        return None
    return f"step {e.step} was made of {e.counts[0]} against {e.counts[1]} batches"


@cause(PROVEN, {"batch", "loss"}, lesson="train", case="state-not-carried")
def state_carried(e: Evidence) -> str | None:
    """The model is given its own state of the batch before in one run only.

    Print the hidden state at each call: who resets it, and when? Truncated
    backpropagation carries it from piece to piece, and detaches it.
    """
    for text, same_model in _other_sources(e):
        if same_model:
            return text
    if not all(e.counts):
        return None
    # a state may be None at first, and so no tensor
    before = [p for p in e.before if p[0].optimizer == e.pair[0].optimizer]
    one, other = map(_inputs, e.pair)
    if before and one != other and all(_inputs(x) == _inputs(y) for x, y in before):
        counts = f"{max(one, default=0)} against {max(other, default=0)}"
        return f"the model is given {counts} tensors; until then, both equally many"
    return None


def _inputs(step: Step) -> list[int]:
    """Return how many tensors each forward of a step was given."""
    return [len(batch.hash) for batch in step.batch if batch]


@cause(PROVEN, {"batch"}, lesson="two_optimizers", case="fakes-kept")
def other_models_output(e: Evidence) -> str | None:
    """The batch is another model's output, made at another moment.

    It was made before that model's update in one run and after it in the other, say.

    Print at which step the input is made. Make it again after the update, or keep it,
    in both runs.
    """
    for text, same_model in _other_sources(e):
        if not same_model:
            return text
    return None


def _other_sources(e: Evidence) -> list[tuple[str, bool]]:
    """Return which inputs a model has made, in words, and whether it was the same."""
    if not e.batches:
        return []
    one, other = e.batches
    found = []
    for x, y, p, q in zip(one.hash, other.hash, one.source, other.source, strict=False):
        if x != y and p != q:
            text = f"it was {_in_words(p)} in {e.a.name}, {_in_words(q)} in {e.b.name}"
            found.append((text, any(source and source[1] for source in (p, q))))
    return found


def _in_words(source: tuple[int, bool] | None) -> str:
    if source is None:
        return "no model's output"
    steps = "a step" if source[0] == 1 else f"{source[0]} steps"
    when = f"{steps} before" if source[0] else "just before"
    return f"made by a model {when}"


@cause(PROVEN, {"batch"}, lesson="train", case="batch-size-changed")
def batch_size(e: Evidence) -> str | None:
    """The batch size differs.

    Print len(batch) of the first batch. With several devices, each takes a batch of its
    own: 2 devices x 32 is not 1 x 64.
    """
    text = _other_sizes(e)
    return text and f"the first batch has {text} rows" if e.step == 0 else None


@cause(PROVEN, {"batch"}, lesson="train", case="last-batch-dropped")
def drop_last(e: Evidence) -> str | None:
    """One run uses the last, smaller batch of an epoch and the other drops it.

    Compare drop_last of the two loaders, and len(loader).
    """
    text = _other_sizes(e)
    return text and f"all is the same up to a batch of {text} rows" if e.step else None


def _other_sizes(e: Evidence) -> str | None:
    both = row_counts(e)
    if both is None or both[0] == both[1] or e.counts[0] != e.counts[1]:
        return None
    return f"{both[0]} against {both[1]}"


@cause(PROVEN, {"batch"}, lesson="train", case="sequence-not-cut")
def sequence_length(e: Evidence) -> str | None:
    """The sequences have another length: cut, or padded, in one run only.

    Print the shape of the first batch. Lightning 2 ignores truncated_bptt_steps: cut
    the sequence yourself, in manual optimization.
    """
    shapes = row_shapes(e)
    if shapes and _is_longer(*shapes):
        return f"{shapes[0][0]} against {shapes[1][0]} places in each row"
    return None


@cause(PROVEN, {"batch"}, lesson="train", case="input-resized")
def input_size(e: Evidence) -> str | None:
    """Each sample has another shape.

    Print the shape of the first batch: resizing, cropping, channels.
    """
    shapes = row_shapes(e)
    if shapes and not _is_longer(*shapes):
        one, other = ("x".join(map(str, shape)) or "scalar" for shape in shapes)
        return f"each row is {one} against {other}"
    return None


def _is_longer(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Tell rows that are sequences of the same things."""
    return len(one) == len(other) in (1, 2) and one[1:] == other[1:]


@cause(PROVEN, {"batch"}, lesson="precision", case="input-in-another-dtype")
def other_dtype(e: Evidence) -> str | None:
    """The batches hold the same in another number format.

    Print batch.dtype.
    """
    if e.batches:
        one, other = e.batches
        if one.dtype != other.dtype and one.shape == other.shape:
            return f"{', '.join(one.dtype)} against {', '.join(other.dtype)}"
    return None


@cause(PROVEN, {"batch"}, lesson="train", case="normalization-forgotten")
def scaled_input(e: Evidence) -> str | None:
    """The inputs are scaled or normalized differently.

    Print min, max, mean and std of one sample in both runs.
    """
    return None if e.seeds else scaling(e)


@cause(LIKELY, {"batch"}, lesson="train", case="augmentation-in-workers")
def augmentation(e: Evidence) -> str | None:
    """Random augmentation draws other numbers: other workers, or another seed.

    Switch the augmentation off. If the batches are then the same, seed each sample by
    its index and epoch: its random numbers then depend on no worker.
    """
    if looks_augmented(e):
        return "the same shape and about the same mean, but other values"
    return None


@cause(POSSIBLE, {"batch"}, lesson="train", case="other-data-set")
def preprocessing(e: Evidence) -> str | None:
    """The data is prepared differently, or it is another data set.

    Print one sample in both runs, before and after each transform.
    """
    if e.batches and has_other_values(e) and not looks_augmented(e):
        one, other = (batch.mean[0] for batch in e.batches)
        return f"the mean of the batch is {one:.6g} against {other:.6g}"
    return None
