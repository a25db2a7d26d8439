# ruff: noqa: D401 (a rule's docstring is what the user reads)
"""Causes seen first in the loss."""

from __future__ import annotations

from compare.divergence.causes.rule import cause
from compare.divergence.evidence import Evidence


@cause("loss", "gradient", "evaluation", lesson="train")
def other_layers(e: Evidence) -> str | None:
    """The models are built of different layers, or with other options.

    Print both models.
    """
    if (
        e.a.layers
        and e.b.layers
        and "OptimizedModule" not in str(e.a.layers + e.b.layers)
    ):
        for one, other in zip(e.a.layers, e.b.layers, strict=False):
            if one != other:
                return f"{one} against {other}"
        if len(e.a.layers) != len(e.b.layers):
            return f"{len(e.a.layers)} against {len(e.b.layers)} layers were called"
    return None


@cause("loss", "gradient", lesson="precision")
def other_precision(e: Evidence) -> str | None:
    """The runs calculate in different precision.

    Compare torch.autocast around the forward and the loss, precision= of the Trainer,
    and the dtype of the weights.
    """
    if e.pair and e.pair[0].precision != e.pair[1].precision:
        return " against ".join(step.precision for step in e.pair)
    return None


@cause("loss", lesson="train")
def other_seed(e: Evidence) -> str | None:
    """The seeds differ.

    Print torch.initial_seed() in both runs. seed_everything() without an argument
    takes 0.
    """
    seeds = e.a.start.get("seed"), e.b.start.get("seed")
    if e.step == 0 and not e.same_initial_weights and seeds[0] != seeds[1]:
        return f"torch.initial_seed() is {seeds[0]} against {seeds[1]}"
    return None


@cause("loss", lesson="checkpoint")
def weights_not_loaded(e: Evidence) -> str | None:
    """Only one run starts from loaded weights.

    Print what load_state_dict returns. With strict=False a prefix such as `model.` in
    the file's names silently makes it load nothing.
    """
    if e.step == 0 and not e.same_initial_weights and e.same_random:
        return "the weights differ before step 0, although the generators stand alike"
    return None


@cause("loss", lesson="train")
def drawn_before_model(e: Evidence) -> str | None:
    """Something drew a random number between the seed and the model.

    Seed right before the model is built. A random split, an example input or another
    model built first is enough.
    """
    if e.step == 0 and not e.same_initial_weights:
        return "the weights differ before step 0, and so do the generators"
    return None


@cause("loss", lesson="accumulation")
def loss_not_divided(e: Evidence) -> str | None:
    """Only one run divides the loss by the number of accumulated batches.

    Print the loss before and after the division. A Trainer always divides by
    accumulate_grad_batches.
    """
    factor = _factor(e)
    if e.pair and factor and factor == len(e.pair[0].batch) > 1:
        return f"{factor} batches a step, and the loss is {factor} times the other"
    return None


@cause("loss", lesson="train")
def loss_reduction(e: Evidence) -> str | None:
    """One loss is a mean and the other a sum, or they are scaled differently.

    Look at reduction= of the loss, and for a factor in front of it.
    """
    factor = _factor(e)
    return f"one loss is {factor} times the other" if factor else None


@cause("loss", lesson="precision")
def loss_outside_autocast(e: Evidence) -> str | None:
    """Only one run calculates the loss itself under autocast.

    Move the loss into the torch.autocast block: a Trainer's covers forward and loss.
    """
    if e.step == 0 and e.pair and "autocast" in e.pair[0].precision:
        return f"both forwards run in {e.pair[0].precision}, yet the first loss differs"
    return None


@cause("loss", lesson="train")
def drawn_in_loop(e: Evidence) -> str | None:
    """Something drew a random number between two steps in one run only.

    Print torch.get_rng_state().sum() before each forward. Dropout then drops others.
    """
    if e.step > 0 and not e.same_random:
        return "the generators differ before this forward, and did not before"
    return None


@cause("loss", lesson="averaging")
def weights_changed_outside(e: Evidence) -> str | None:
    """The weights or buffers were changed between two steps, not by the optimizer.

    Compare a weight right after a step and before the next. Averaged weights (EMA,
    SWA) that are not swapped back do this, a checkpoint that is loaded, or clamping.
    """
    if e.step > 0:
        return (
            "batch, mode, generators and the weights after the last step are the same"
        )
    return None


@cause("loss", lesson="train")
def other_target(e: Evidence) -> str | None:
    """The targets or the loss function differ.

    Print the targets of the first batch, and the loss function.
    """
    if e.step == 0 and e.same_initial_weights:
        return "the same batch and the same weights, yet another loss"
    return None


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
