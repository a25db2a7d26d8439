# ruff: noqa: D401 (a rule's docstring is what the user reads)
"""Causes seen first in an evaluation, and in a run's length."""

from __future__ import annotations

from compare.divergence.causes.rule import cause
from compare.divergence.evidence import Evidence


@cause("evaluation", lesson="debugging")
def epoch_length(e: Evidence) -> str | None:
    """An epoch is shorter in one run, and ends here.

    Compare len(loader), limit_train_batches, overfit_batches and drop_last.
    """
    one, other = e.evaluations
    if bool(one) != bool(other) and e.new_epoch_in_one_run:
        return (
            f"only {(e.a if one else e.b).name} starts a new epoch after step {e.step}"
        )
    return None


@cause("evaluation", lesson="train")
def evaluation_missing(e: Evidence) -> str | None:
    """Only one run evaluates at this point.

    Compare when the two evaluate: every epoch, val_check_interval,
    check_val_every_n_epoch. An evaluation's loader may draw a random number, and so
    change what is trained next.
    """
    one, other = e.evaluations
    if bool(one) != bool(other):
        return f"only {(e.a if one else e.b).name} evaluates after step {e.step}"
    return None


@cause("evaluation", lesson="distributed")
def evaluation_share(e: Evidence) -> str | None:
    """The runs evaluate different numbers of batches.

    Compare len(loader), drop_last and limit_val_batches. Under DDP each process sees
    its share only, padded with duplicates to equal length.
    """
    one, other = (len(side) for side in e.evaluations)
    if one and other and one != other:
        return f"{one} against {other} batches"
    return None


@cause("evaluation", lesson="train")
def evaluation_data(e: Evidence) -> str | None:
    """The runs evaluate on different data, or in another order.

    Compare the first sample and the order: an evaluation's loader needs no shuffling.
    """
    for one, other in zip(*e.evaluations, strict=False):
        if one.batch and other.batch and one.batch.hash != other.batch.hash:
            return "the input of an evaluation batch differs"
    return None


@cause("evaluation", lesson="precision")
def evaluation_precision(e: Evidence) -> str | None:
    """The runs evaluate in different precision.

    Put the evaluation under the same torch.autocast as the training, or neither.
    """
    for one, other in zip(*e.evaluations, strict=False):
        if one.precision != other.precision:
            return f"{one.precision} against {other.precision}"
    return None


@cause("evaluation", lesson="train")
def batchnorm_statistics(e: Evidence) -> str | None:
    """BatchNorm's running statistics differ: momentum, or what they were taken over.

    Compare the buffers running_mean and running_var, and momentum, of both models.
    Buffers are no parameters: an optimizer or a checkpoint of weights may skip them.
    """
    if any("BatchNorm" in layer for layer in (*e.a.layers, *e.b.layers)):
        return "the weights are the same, and the model has BatchNorm"
    return None


@cause("evaluation", lesson="averaging")
def evaluated_other_weights(e: Evidence) -> str | None:
    """One run evaluates other weights: averaged ones (EMA, SWA), or a best checkpoint.

    Compare a weight inside the evaluation with the one the last step left.
    """
    if e.evaluations[0] and e.evaluations[1]:
        return "the same batch in the same mode gives another output"
    return None


@cause("length", lesson="debugging")
def crashed(e: Evidence) -> str | None:
    """The shorter run ended with an error or was killed.

    Look at the end of its log.
    """
    shorter = min((e.a, e.b), key=lambda run: len(run.steps))
    return "; ".join(shorter.remarks)


@cause("length", lesson="early_stopping")
def stopped_earlier(e: Evidence) -> str | None:
    """One run is told to stop earlier, or a second fit did nothing.

    Compare max_epochs, max_steps, limit_train_batches, fast_dev_run, early stopping. A
    Trainer counts on over several calls of fit, so a second one may run no step.
    """
    one, other = len(e.a.steps), len(e.b.steps)
    return f"all {min(one, other)} common steps are the same"


@cause("optimizer", lesson="two_optimizers")
def extra_optimizer(e: Evidence) -> str | None:
    """One run steps an optimizer that the other does not have, or in another order.

    Print every optimizer's class and the names of its parameters.
    """
    names = [[o.name for o in run.optimizers] for run in (e.a, e.b)]
    return f"{', '.join(names[0])} against {', '.join(names[1])}"
