# ruff: noqa: D401 (the docstring of a cause says what happened)
"""Causes that are there from the start: the model, its weights, random numbers."""

from __future__ import annotations

from itertools import zip_longest

from ..align import plain_name
from ..evidence import Evidence
from .batches import shapes_differ
from .cause import LIKELY, POSSIBLE, PROVEN, ROUNDING, cause
from .order import sanity_pass

_DROPOUTS = ("(Dropout", "(AlphaDropout", "(FeatureAlphaDropout")


@cause(
    ROUNDING,
    {"batch", "loss", "gradient", "weights", "buffers", "evaluation"},
    lesson="train",
    case="last-bit-amplified",
)
def last_bits(e: Evidence) -> str | None:
    """The difference has the size of the last bits: it is rounding, not a mistake.

    Sums are rounded differently in another order: with other threads, on another
    machine or kernel, fused or foreach, in TF32, compiled.

    Run both on one CPU with torch.set_num_threads(1). If they are the same there,
    compare within the last bits, over few steps: training amplifies them.
    """
    if not e.is_rounding:
        return None
    start = ", and the weights before the first step differ too" if e.initial else ""
    reasons = f"; not the same: {', '.join(e.machine)}" if e.machine else ""
    size = f"its relative size is {e.size:.1g}" if e.size else "no norm shows it"
    return f"{size}{start}{reasons}"


@cause(PROVEN, {"loss", "gradient", "weights"}, lesson="transfer", case="tie-lost")
def tied_weights(e: Evidence) -> str | None:
    """Two layers share one weight in one run only.

    Print a.weight is b.weight. Copying, moving or wrapping a model, or loading each
    layer on its own, can untie them: tie them again afterwards.
    """
    ties = [
        [names for optimizer in run.optimizers for names in optimizer.tied]
        for run in e.runs
    ]
    counts = [len({plain_name(n) for names in tied for n in names}) for tied in ties]
    if counts[0] == counts[1]:
        return None
    more = counts.index(max(counts))
    return f"only in {e.runs[more].name} are {' and '.join(ties[more][0])} one tensor"


@cause(PROVEN, {"batch", "loss"}, lesson="train", case="batch-prefetched")
def prefetched_batch(e: Evidence) -> str | None:
    """A Trainer fetches the next batch before this step's random numbers are drawn.

    The data draws from the same generator.

    Give the data a generator of its own, or the loader a length: a Trainer prefetches
    where it cannot know whether a batch is the last.
    """
    if e.step or not e.trainer or e.initial or e.seeds or sanity_pass.sign(e):
        return None
    if "torch" not in e.generators_apart:
        return None
    if e.quantity == "loss":
        next_differs = any(x.batch != y.batch for x, y in e.pairs[1:2])
    else:  # the first batch of an accumulated step is the same
        next_differs = e.counts[0] == e.counts[1] > 1
    if next_differs:
        return f"{e.trainer} has a Trainer, and has drawn more before the first forward"
    return None


@cause(PROVEN, {"batch", "loss"}, lesson="train", case="seed-left-out")
def other_seed(e: Evidence) -> str | None:
    """The seeds differ.

    Print torch.initial_seed() in both runs, and seed NumPy and Python's random too.
    seed_everything() without an argument takes 0.
    """
    if e.quantity == "batch":
        matters = not shapes_differ(e)
    else:
        matters = e.iteration == 0 and not e.calls_differ
        matters = matters and bool(e.initial or e.generators_apart)
    return "; ".join(e.seeds) if matters else None


@cause(PROVEN, {"loss"}, lesson="compile", case="compiled-dropout")
def compiled_dropout(e: Evidence) -> str | None:
    """torch.compile draws other random numbers for dropout.

    Compare in eval mode, or with dropout 0. The numbers are as random as before, but
    they are others: nothing can make these two runs the same.
    """
    if e.compiled[0] != e.compiled[1] and not e.is_rounding:
        plain = e.runs[e.compiled.index(False)]
        random = [x for x in plain.layers if "ropout" in x and "p=0.0" not in x]
        if random:
            return f"only one model is compiled, and it has {_bare(random[0])}"
    return None


@cause(
    PROVEN,
    {"loss", "gradient", "buffers", "evaluation"},
    lesson="train",
    case="dropout-rate-changed",
)
def other_layers(e: Evidence) -> str | None:
    """The models are built of different layers, or with other options.

    Print both models.
    """
    if any(e.compiled):
        return None
    # a layer without parameters may be a function in the other run; not dropout
    layers = [
        [x for x in run.layers if not x.startswith("(") or x.startswith(_DROPOUTS)]
        for run in e.runs
    ]
    if layers[0] == layers[1] and len(e.a.layers) == len(e.b.layers):
        layers = [list(run.layers) for run in e.runs]
    for one, other in zip_longest(*layers):
        if one is None or other is None:
            return f"{len(layers[0])} against {len(layers[1])} layers were called"
        if one != other:
            return f"{_bare(one)} against {_bare(other)}"
    return None


def _bare(layer: str) -> str:
    """Return a layer without the brackets that say it has no parameters."""
    return layer[1:-1] if layer.startswith("(") else layer


@cause(PROVEN, {"loss", "gradient"}, lesson="precision", case="autocast-forgotten")
def other_precision(e: Evidence) -> str | None:
    """The runs calculate in different precision.

    Compare torch.autocast around the forward and the loss, precision= of the Trainer,
    and the dtype of the weights.
    """
    one, other = (", ".join(dict.fromkeys(step.precision)) for step in e.pair)
    return f"{one} against {other}" if one and other and one != other else None


@cause(
    PROVEN,
    {"loss", "gradient", "weights"},
    lesson="checkpoint",
    case="prefix-loads-nothing",
)
def weights_not_loaded(e: Evidence) -> str | None:
    """The weights differ from the start, though the generators agree.

    They were loaded in one run only, initialized differently, or made before the seed
    was set.

    Print what load_state_dict returns. With strict=False a prefix such as `model.` in
    the file's names silently makes it load nothing.
    """
    if e.other_start and "torch" not in e.generators_apart:
        return f"{e.initial[0]} differs before the first step; the generators agree"
    return None


@cause(
    PROVEN, {"loss", "gradient", "weights"}, lesson="train", case="random-before-model"
)
def drawn_before_model(e: Evidence) -> str | None:
    """Something drew a random number between the seed and the model.

    Seed right before the model is built. A random split, an example input or another
    model built first is enough.
    """
    if e.other_start and "torch" in e.generators_apart and not e.seeds:
        return f"{e.initial[0]} differs before the first step, and so do the generators"
    return None


@cause(LIKELY, {"loss"}, lesson="train", case="random-after-model")
def drawn_after_model(e: Evidence) -> str | None:
    """Something drew a random number between the model and the first forward.

    The weights are the same, the generators are not.

    Print torch.get_rng_state().sum() right before the loop.
    """
    if e.step == 0 and not e.initial and e.generators_apart and not e.seeds:
        generators = ", ".join(e.generators_apart)
        return f"the weights agree, the generators do not: {generators}"
    return None


@cause(LIKELY, {"loss"}, lesson="train", case="activation-replaced")
def other_forward(e: Evidence) -> str | None:
    """The forward calculates something else between its layers.

    Compare what the two forwards do beside calling layers: activations, masks,
    residuals, reshaping.
    """
    if e.step or e.initial or e.generators_apart or any(e.compiled):
        return None
    if other_output(e) and not other_layers.sign(e):
        return "the same batch, weights and layers, yet another output"
    return None


def other_output(e: Evidence) -> bool:
    """Tell whether a last layer gives something else, where both were seen."""
    if not e.comparison.weights_comparable:
        return False
    pairs = zip(e.pair[0].output, e.pair[1].output, strict=False)
    return any(x and y and x.hashes != y.hashes for x, y in pairs)


@cause(POSSIBLE, {"loss", "gradient"}, lesson="compile", case="batch-unseen")
def unseen_batch(e: Evidence) -> str | None:
    """The batch was not seen, and may differ.

    The model is compiled in place, or inside a compiled function, or its forward is
    called by name.

    Compare without torch.compile, or print the batch.
    """
    return None if all(e.counts) else "the batch of this step was not seen"
