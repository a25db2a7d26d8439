# ruff: noqa: D401 (a rule's docstring is what the user reads)
"""Causes seen first in the batches."""

from __future__ import annotations

from compare.divergence.causes.rule import cause
from compare.divergence.evidence import Evidence


@cause("batch", lesson="accumulation")
def accumulation_window(e: Evidence) -> str | None:
    """The runs accumulate over different numbers of batches before a step.

    Count the backward calls per step. Lightning always steps on an epoch's last batch,
    even when the window is not full, and divides by accumulate_grad_batches all the
    same.
    """
    if e.pair and len(e.pair[0].batch) != len(e.pair[1].batch):
        counts = [len(step.batch) for step in e.pair]
        return f"step {e.step} was made of {counts[0]} against {counts[1]} batches"
    return None


@cause("batch", lesson="train")
def batch_size(e: Evidence) -> str | None:
    """The batch size differs.

    Print len(batch) of the first batch. With several devices, each takes a batch of
    its own: 2 devices x 32 is not 1 x 64.
    """
    sizes = _sizes(e)
    if sizes and sizes[0] != sizes[1] and e.step == 0:
        return f"the first batch has {sizes[0]} against {sizes[1]} rows"
    return None


@cause("batch", lesson="train")
def drop_last(e: Evidence) -> str | None:
    """One run uses the last, smaller batch of an epoch and the other drops it.

    Compare drop_last of the two loaders, and len(loader).
    """
    sizes = _sizes(e)
    if sizes and sizes[0] != sizes[1]:
        return f"all went alike up to a batch of {min(sizes)} against {max(sizes)} rows"
    return None


@cause("batch", lesson="distributed")
def order_repeats(e: Evidence) -> str | None:
    """The sampler gives the same order in every epoch: nobody calls set_epoch.

    Print the labels of the first batch of two epochs. A Trainer calls
    sampler.set_epoch(epoch) by itself; a loop must do it before each epoch.
    """
    if e.at_epoch_start and e.epoch and len(e.pairs) >= 2 * e.epoch:
        for run, steps in e.sides:
            if e.repeats_its_order(steps):
                return f"{run.name} has the same batches again in its second epoch"
    return None


@cause("batch", lesson="train")
def own_generator(e: Evidence) -> str | None:
    """A shuffling loader has a generator of its own, and one run draws from it more.

    Give both loaders a sampler whose order depends on seed + epoch alone. A loop that
    exhausts its RandomSampler draws once more at the end; a Trainer stops before.
    """
    if e.at_epoch_start and e.same_random:
        return "the global generators stand alike, yet the new order is another one"
    return None


@cause("batch", lesson="train")
def drawn_between_epochs(e: Evidence) -> str | None:
    """Something drew a random number between two epochs in one run only.

    Print torch.get_rng_state().sum() before and after what is done between epochs. A
    new loader iterator draws one number, so validating or not changes the order: give
    every loader a generator of its own.
    """
    if e.at_epoch_start and not e.same_random:
        return "the global generators differ at the start of this epoch"
    return None


@cause("batch", lesson="debugging")
def not_shuffled(e: Evidence) -> str | None:
    """Only one run shuffles.

    Look at shuffle= of both loaders. overfit_batches switches shuffling off; DDP
    switches it on for training.
    """
    if e.step == 0 and e.epoch and len(e.pairs) >= 2 * e.epoch:
        fixed = [run.name for run, steps in e.sides if e.repeats_its_order(steps)]
        if len(fixed) == 1:
            return f"only {fixed[0]} has the same order in every epoch"
    return None


@cause("batch", lesson="train")
def sanity_pass(e: Evidence) -> str | None:
    """A pass over validation data before training drew random numbers.

    Leave the pass out, or save and restore the generator's state around it, as a
    Trainer's sanity check does.
    """
    one, other = e.before_training
    if e.step == 0 and not e.same_random and bool(one) != bool(other):
        which = e.a.name if one else e.b.name
        return (
            f"only {which} evaluates before its first step, and the generators differ"
        )
    return None


@cause("batch", lesson="train")
def drawn_before_first_batch(e: Evidence) -> str | None:
    """Another seed, or something drew a random number before the first batch.

    Seed right before the loaders and the model are made; print torch.initial_seed().
    """
    if e.step == 0 and e.same_samples and not e.same_random:
        return "the samples come in another order, and the generators differ at step 0"
    return None


@cause("batch", lesson="train")
def other_order(e: Evidence) -> str | None:
    """The samples come in another order: another sampler, or a sampler's own seed.

    Compare list(loader.sampler)[:10] of the two runs.
    """
    if e.same_samples:
        return "later the same samples were seen in both runs"
    return None


@cause("batch", lesson="train")
def augmentation(e: Evidence) -> str | None:
    """Random augmentation draws other numbers: other workers, or another seed there.

    Switch the augmentation off. If the batches are then the same, seed each sample by
    its index and epoch: draws then depend neither on workers nor on their number.
    """
    if e.batches and not e.same_samples and _mean_shift(e) < 0.2:
        return "the same shape and about the same mean, but other values"
    return None


@cause("batch", lesson="train")
def preprocessing(e: Evidence) -> str | None:
    """The data is prepared differently: scaling, normalization, or another data set.

    Print min, max, mean and std of one sample in both runs.
    """
    if e.batches and not e.same_samples:
        one, other = (batch.mean[0] for batch in e.batches)
        return f"the mean of the batch is {one:.6g} against {other:.6g}"
    return None


def _sizes(e: Evidence) -> tuple[int, int] | None:
    """Return the numbers of rows of the two batches."""
    if not e.batches:
        return None
    one, other = ((batch.shape[0] or (1,))[0] for batch in e.batches)
    return one, other


def _mean_shift(e: Evidence) -> float:
    """Return by how much the batches' means differ, in parts of the larger one."""
    if not e.batches:
        return 0.0
    one, other = (batch.mean[0] for batch in e.batches)
    return abs(one - other) / max(abs(one), abs(other), 1e-12)
