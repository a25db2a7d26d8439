# ruff: noqa: D401 (the docstring of a cause says what happened)
"""Causes that change the order of the data: samplers, generators, workers."""

from __future__ import annotations

from itertools import accumulate

from ...trace.run import Step
from ..evidence import WORD, Evidence
from .batches import (
    looks_augmented,
    same_samples,
    scaling,
    shapes_differ,
    sum_of_rows,
)
from .cause import LIKELY, PROVEN, cause


@cause(PROVEN, {"batch"}, lesson="train", case="workers-keep-the-epoch")
def epoch_kept_by_workers(e: Evidence) -> str | None:
    """The data set is told the epoch, and its workers keep the first one.

    With persistent_workers=True the workers have a copy of the data set from the first
    epoch: leave that option out, or seed each sample in the sampler.
    """
    repeating = None if shapes_differ(e) else _repeating_run(e)
    for run, steps in zip(e.runs, e.steps, strict=True):
        if repeating and run.name != repeating:
            epochs = steps[: e.step], steps[e.step : 2 * e.step]
            if sum_of_rows(epochs[0]) != sum_of_rows(epochs[1]):
                return f"{repeating} sees its first epoch again, {run.name} does not"
    return None


@cause(LIKELY, {"batch"}, lesson="distributed", case="set-epoch-forgotten")
def order_repeats(e: Evidence) -> str | None:
    """The sampler gives the same order in every epoch: nobody calls set_epoch.

    Print the labels of the first batch of two epochs. A Trainer calls
    sampler.set_epoch(epoch) by itself; a loop must do it before each epoch.
    """
    run = _repeating_run(e)
    return run and f"{run} has the same batches again from step {e.step} on"


@cause(LIKELY, {"batch"}, lesson="train", case="generator-drawn-once-more")
def own_generator(e: Evidence) -> str | None:
    """A shuffling loader has a generator of its own; one run draws from it more often.

    Give both loaders a sampler whose order depends on seed + epoch alone. A loop that
    exhausts its RandomSampler draws once more; a Trainer stops before.
    """
    if not _at_epoch_start(e) or e.generators_apart or _repeating_run(e):
        return None
    if same_samples(e):
        return "the global generators agree, yet the new order is another one"
    return None


@cause(LIKELY, {"batch"}, lesson="train", case="random-between-epochs")
def drawn_between_epochs(e: Evidence) -> str | None:
    """Something drew a random number between two epochs in one run only.

    Print torch.get_rng_state().sum() before and after what is done between epochs. A
    new loader iterator draws one number, so validating or not changes the order: give
    every loader a generator of its own.
    """
    if _at_epoch_start(e) and e.generators_apart and not _repeating_run(e):
        generators = ", ".join(e.generators_apart)
        return f"the generators differ at the start of this epoch: {generators}"
    return None


@cause(LIKELY, {"batch"}, lesson="debugging", case="shuffle-forgotten")
def not_shuffled(e: Evidence) -> str | None:
    """Only one run shuffles.

    Look at shuffle= of both loaders. overfit_batches switches shuffling off; DDP
    switches it on for training.
    """
    epoch = _epoch(e)
    if e.step == 0 and epoch and len(e.pairs) >= 2 * epoch:
        pairs = zip(e.runs, e.steps, strict=True)
        fixed = [run.name for run, steps in pairs if _repeats_from(steps, epoch)]
        if len(fixed) == 1:
            return f"only {fixed[0]} has the same order in every epoch"
    return None


@cause(LIKELY, {"batch", "loss"}, lesson="train", case="sanity-pass-draws")
def sanity_pass(e: Evidence) -> str | None:
    """A pass over validation data before training drew random numbers.

    Leave the pass out, or save and restore the generator's state around it, as a
    Trainer's sanity check does.
    """
    one, other = e.comparison.evaluations.get(0, ([], []))
    if e.step == 0 and e.generators_apart and bool(one) != bool(other) and not e.seeds:
        name = (e.a if one else e.b).name
        if name != e.trainer:  # which puts the generators back
            return f"only {name} evaluates before its first step; the generators differ"
    return None


@cause(LIKELY, {"batch"}, lesson="train", case="random-before-loader")
def drawn_before_first_batch(e: Evidence) -> str | None:
    """Something drew a random number before the first batch.

    Seed right before the loaders are used; print torch.get_rng_state().sum().
    """
    if e.step or not e.generators_apart or e.seeds or e.initial or sanity_pass.sign(e):
        return None
    if not looks_augmented(e) and not scaling(e):
        return f"the generators differ at step 0: {', '.join(e.generators_apart)}"
    return None


@cause(LIKELY, {"batch", "loss"}, lesson="train", case="random-in-loop")
def drawn_in_loop(e: Evidence) -> str | None:
    """Something drew a random number between two steps in one run only.

    Dropout then drops other units.

    Print torch.get_rng_state().sum() before each forward.
    """
    between_epochs = e.quantity == "batch" and _at_epoch_start(e)
    if e.step > 0 and e.generators_apart and not between_epochs:
        generators = ", ".join(e.generators_apart)
        return f"the generators differ from this forward on: {generators}"
    return None


@cause(PROVEN, {"batch"}, lesson="train", case="inputs-shuffled-apart")
def rows_apart(e: Evidence) -> str | None:
    """The inputs of a batch no longer belong together: one is in another order.

    Print the first rows of all inputs. Shuffle them with one permutation.
    """
    if e.batches and len(e.batches[0].hash) == len(e.batches[1].hash):
        one, other = e.batches
        moved = [x != y for x, y in zip(one.hash, other.hash, strict=True)]
        if one.rows == other.rows and 0 < sum(moved) < len(moved):
            return f"the rows of input {moved.index(True)} alone are in another order"
    return None


@cause(LIKELY, {"batch"}, lesson="train", case="sampler-seed-differs")
def other_order(e: Evidence) -> str | None:
    """The samples come in another order: another sampler, or a sampler's own seed.

    Compare list(loader.sampler)[:10] of the two runs.
    """
    if same_samples(e) and not _at_epoch_start(e):
        return "later the same samples were seen in both runs"
    return None


def _epoch(e: Evidence) -> int | None:
    """Return the number of steps of an epoch, where it can be told."""
    evaluated = [done for done in e.comparison.evaluations if done > 0]
    if evaluated:
        return min(evaluated)
    total = [0, *accumulate(sum_of_rows([step]) for step in e.steps[1])]
    # the first n steps and the next n have the same rows
    lengths = range(1, len(e.pairs) // 2 + 1)
    return next((n for n in lengths if (2 * total[n] - total[2 * n]) % WORD == 0), None)


def _at_epoch_start(e: Evidence) -> bool:
    """Tell whether this step is the first of an epoch, but not of the run."""
    epoch = _epoch(e)
    return e.step > 0 and epoch is not None and e.step % epoch == 0


def _repeating_run(e: Evidence) -> str | None:
    """Return the one run that has the batches of its beginning again."""
    if len(e.before) < 2:
        return None
    pairs = zip(e.runs, e.steps, strict=True)
    found = [run.name for run, steps in pairs if _repeats_from(steps, e.step)]
    return found[0] if len(found) == 1 else None


def _repeats_from(steps: list[Step], start: int) -> bool:
    """Tell whether a run's batches from this step on are those of its beginning."""
    hashes = [[batch and batch.hash for batch in step.batch] for step in steps]
    length = min(start, len(hashes) - start)
    return length > 0 and hashes[:length] == hashes[start : start + length]
