"""Causes in the data: which batches come, in what order, how many."""

from compare.causes.clues import (
    CERTAIN,
    LIKELY,
    TRAIN,
    UNLIKELY,
    Clues,
    cause,
)


@cause(
    "random-before",
    "Something random runs between the seed and the first batch in one run only, or the"
    " seeds differ",
    "print torch.initial_seed() and torch.get_rng_state().sum() right before the loop",
)
def _random_before(clues: Clues) -> float:
    if clues.step or not clues.starts_with("batch", "loss"):
        return 0
    return CERTAIN if clues.random_differs() else 0


@cause(
    "order-from-start",
    "The order of the data differs from the start: shuffle=True in one run only, or"
    " samplers with other seeds",
    "print the indices: list(loader.sampler)[:10] in both scripts",
    TRAIN,
)
def _order_from_start(clues: Clues) -> float:
    if clues.step or not clues.starts_with("batch") or not clues.same_samples():
        return 0
    return CERTAIN + 0.5 if clues.shuffles_once() else LIKELY


@cause(
    "set-epoch",
    "One run goes through the same order in each epoch: set_epoch is not called, or"
    " nothing shuffles",
    "call loader.sampler.set_epoch(epoch) at the start of each epoch, and print it",
    TRAIN,
)
def _set_epoch(clues: Clues) -> float:
    return CERTAIN if clues.starts_with("batch") and clues.repeats() else 0


@cause(
    "evaluation-draws",
    "Only one run evaluated before this step, and an evaluation loader draws a number"
    " from the global random state each time it starts",
    "give every loader a generator of its own, or evaluate at the same steps",
    TRAIN,
)
def _evaluation_draws(clues: Clues) -> float:
    if not clues.starts_with("batch", "loss") or not clues.random_differs():
        return 0
    return CERTAIN if clues.only_one_evaluated() else 0


@cause(
    "explicit-generator",
    "A shuffling loader with its own generator: a loop that exhausts the sampler draws"
    " once more each epoch, a Trainer that stops at the last batch does not",
    "shuffle with a sampler seeded by seed + epoch; the order then depends on nothing",
    TRAIN,
)
def _explicit_generator(clues: Clues) -> float:
    if not clues.starts_with("batch") or not clues.epoch_began():
        return 0
    return LIKELY if not clues.random_differs() else UNLIKELY


@cause(
    "iterators-draw",
    "The loaders are started a different number of times (workers kept alive, loaders"
    " made anew each epoch, a sanity pass), and each start draws a random number",
    "print torch.get_rng_state().sum() at the start of each epoch in both scripts",
)
def _iterators_draw(clues: Clues) -> float:
    if not clues.starts_with("batch", "loss") or not clues.step:
        return 0
    return LIKELY - 0.5 if clues.random_differs() else 0


@cause(
    "batch-size",
    "The batches are of different sizes: another batch_size, or drop_last",
    "print len(loader), loader.batch_size and loader.drop_last in both scripts",
)
def _batch_size(clues: Clues) -> float:
    shapes = [[x["shape"][:1] for x in r["batches"]] for r in (clues.a, clues.b)]
    differ = shapes[0] != shapes[1]
    return CERTAIN + 0.5 if clues.starts_with("batch") and differ else 0


@cause(
    "accumulation-window",
    "The steps are made of different numbers of batches: gradient accumulation differs,"
    " or its last, short window in an epoch is handled differently",
    "a Trainer always steps on an epoch's last batch; compare the numbers of batches",
)
def _accumulation_window(clues: Clues) -> float:
    counts = [len(r["batches"]) for r in (clues.a, clues.b)]
    return CERTAIN + 1 if clues.starts_with("batch") and counts[0] != counts[1] else 0


@cause(
    "transform",
    "The inputs are not the same numbers: another normalization, augmentation or dtype",
    "save the first batch in both scripts and look at (a - b).abs().max()",
)
def _transform(clues: Clues) -> float:
    if not clues.starts_with("batch") or len(clues.a["batches"]) != len(
        clues.b["batches"]
    ):
        return 0
    return 0 if clues.same_samples() else LIKELY + 0.5


@cause(
    "worker-seeds",
    "Random augmentation in loader workers: their seeds depend on the number of workers"
    " and on seed_everything(workers=True)",
    "set num_workers=0 in both scripts: the first step then agrees",
)
def _worker_seeds(clues: Clues) -> float:
    augmented = clues.starts_with("batch") and clues.step == 0
    return UNLIKELY if augmented and not clues.same_samples() else 0


@cause(
    "length",
    "The runs are of different lengths: epochs, max_steps, limits on batches,"
    " drop_last, or a second fit() on one Trainer, which does nothing",
    "print the number of epochs and len(loader) in both scripts",
)
def _length(clues: Clues) -> float:
    return CERTAIN if clues.starts_with("length") else 0


@cause(
    "evaluation-batches",
    "The evaluation sees other batches: shuffling, another split, drop_last, a limit on"
    " batches, or a test loop in one run only",
    "print len(loader) and the first indices of both evaluation loaders",
)
def _evaluation_batches(clues: Clues) -> float:
    if not clues.starts_with("evaluation"):
        return 0
    return 0 if "output" in clues.first.a else CERTAIN
