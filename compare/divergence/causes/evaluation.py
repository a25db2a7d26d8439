# ruff: noqa: D401 (the docstring of a cause says what happened)
"""Causes seen first in an evaluation, a run's length, or whose turn it is."""

from __future__ import annotations

from collections import Counter

from ..evidence import WORD, Evidence
from .cause import LIKELY, POSSIBLE, PROVEN, cause


@cause(LIKELY, {"evaluation"}, lesson="debugging", case="batches-limited")
def epoch_length(e: Evidence) -> str | None:
    """An epoch is shorter in one run, and ends here.

    Compare len(loader), limit_train_batches, overfit_batches and drop_last.
    """
    next_step = e.comparison.in_training
    if not _only_evaluator(e) or not next_step or next_step.quantity != "batch":
        return None
    one, other = e.pairs[next_step.step]
    if next_step.step == e.step + 1 and one.random == other.random:
        return f"only {_only_evaluator(e)} starts a new epoch after step {e.step}"
    return None


@cause(LIKELY, {"evaluation"}, lesson="train", case="validation-twice-an-epoch")
def evaluation_missing(e: Evidence) -> str | None:
    """Only one run evaluates at this point.

    Compare when the two evaluate: every epoch, val_check_interval,
    check_val_every_n_epoch. An evaluation's loader may draw a random number, and so
    change what is trained next.
    """
    name = _only_evaluator(e)
    return name and f"only {name} evaluates after step {e.step}"


def _only_evaluator(e: Evidence) -> str | None:
    """Return the run that alone evaluates here."""
    one, other = e.evaluations
    return (e.a if one else e.b).name if bool(one) != bool(other) else None


@cause(LIKELY, {"evaluation"}, lesson="distributed", case="evaluation-sharded")
def evaluation_share(e: Evidence) -> str | None:
    """The runs evaluate different numbers of batches.

    Compare len(loader), drop_last and limit_val_batches. Under DDP each process sees
    only its share, padded with duplicates to equal length.
    """
    one, other = map(len, e.evaluations)
    return f"{one} against {other} batches" if one and other and one != other else None


@cause(PROVEN, {"evaluation"}, lesson="evaluate", case="evaluation-shuffled")
def evaluation_order(e: Evidence) -> str | None:
    """The runs evaluate the same rows in another order.

    An evaluation's loader needs no shuffling: leave shuffle=True out.
    """
    if not e.detail.startswith("input"):
        return None
    one, other = (
        sum(each.batch.rows[0] for each in run if each.batch) for run in e.evaluations
    )
    return None if (one - other) % WORD else "the same rows come in another order"


@cause(LIKELY, {"evaluation"}, lesson="evaluate", case="evaluated-on-other-data")
def evaluation_data(e: Evidence) -> str | None:
    """The runs evaluate on different data.

    Compare the first sample of both.
    """
    if e.detail.startswith("input") and not evaluation_share.sign(e):
        return "the input of an evaluation batch differs"
    return None


@cause(PROVEN, {"evaluation"}, lesson="precision", case="evaluated-in-full-precision")
def evaluation_precision(e: Evidence) -> str | None:
    """The runs evaluate in different precision.

    Put the evaluation under the same torch.autocast as the training, or neither.
    """
    for one, other in zip(*e.evaluations, strict=False):
        if one.precision != other.precision:
            return f"{one.precision} against {other.precision}"
    return None


@cause(PROVEN, {"evaluation"}, lesson="train", case="eval-forgotten")
def eval_forgotten(e: Evidence) -> str | None:
    """One run evaluates in train mode: model.eval() is missing.

    Print model.training inside the evaluation. Without model.eval(), dropout stays on
    and BatchNorm learns from the evaluation data.
    """
    one, other = (Counter(each.mode for each in run) for run in e.evaluations)
    if e.detail.startswith("mode") and one != other:
        return f"{', '.join(sorted(one))} against {', '.join(sorted(other))}"
    return None


@cause(LIKELY, {"buffers", "evaluation"}, lesson="transfer", case="buffers-not-loaded")
def batchnorm_statistics(e: Evidence) -> str | None:
    """Running statistics differ: their momentum, their data, or what was loaded.

    Compare the buffers running_mean and running_var. Buffers are no parameters: an
    optimizer or a checkpoint of weights may skip them. A forward in train mode that is
    not trained on changes them too.
    """
    if e.quantity == "buffers":
        return "all else is the same, and so are the weights"
    if any("Norm" in layer for run in e.runs for layer in run.layers):
        return "the weights are the same, and the model has running statistics"
    return None


@cause(POSSIBLE, {"evaluation"}, lesson="averaging", case="average-evaluated")
def evaluated_other_weights(e: Evidence) -> str | None:
    """One run evaluates other weights: averaged ones (EMA, SWA), or the best ones.

    Compare a weight inside the evaluation with the one the last step left.
    """
    if e.detail.startswith("output"):
        return "the same batch in the same mode gives another output"
    return None


@cause(PROVEN, {"length"}, lesson="debugging", case="batches-limited")
def crashed(e: Evidence) -> str | None:
    """The shorter run ended with an error or was killed.

    Look at the end of its log.
    """
    return min(e.runs, key=lambda run: len(run.steps)).crashed


@cause(LIKELY, {"length"}, lesson="early_stopping", case="second-fit-does-nothing")
def stopped_earlier(e: Evidence) -> str | None:
    """One run is told to stop earlier, or a second fit did nothing.

    Compare max_epochs, max_steps, limit_train_batches, fast_dev_run, early stopping. A
    Trainer goes on counting over several calls of fit: a second one may run no step.
    """
    return f"all {len(e.pairs)} common steps are the same"


@cause(PROVEN, {"optimizer"}, lesson="two_optimizers", case="generator-first")
def other_turn(e: Evidence) -> str | None:
    """The optimizers take their steps in another order.

    Print which optimizer steps when: the generator's first, or the discriminator's?
    Take the order of the other run.
    """
    if not e.in_a_step:
        return None
    one, other = (
        f"{optimizer.names[0]} ({'x'.join(map(str, optimizer.shapes[0]))})"
        for optimizer in e.optimizers
    )
    return f"{e.a.name} steps the one of {one}, {e.b.name} that of {other}"


@cause(LIKELY, {"optimizer"}, lesson="two_optimizers", case="second-optimizer-left-out")
def extra_optimizer(e: Evidence) -> str | None:
    """One run steps an optimizer that the other does not have.

    Print every optimizer's class and the names of its parameters.
    """
    one, other = (", ".join(o.name for o in run.optimizers) for run in e.runs)
    return f"{one} against {other}"
