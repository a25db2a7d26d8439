"""Causes in the model: its first weights, its mode, its loss, its precision."""

import math

from compare.causes.clues import (
    CERTAIN,
    DIFFER,
    LIKELY,
    POSSIBLE,
    TRAIN,
    UNLIKELY,
    Clues,
    cause,
)

FORWARD = ("loss", "gradient", "evaluation", "weights")


@cause(
    "seed",
    "The first weights differ altogether: another seed, or something random between the"
    " seed and the model",
    "call torch.manual_seed(seed) on the line before the model is made",
    TRAIN,
)
def _seed(clues: Clues) -> float:
    if not clues.starts_with("initial weights"):
        return 0
    return CERTAIN if len(clues.first.names) > _drawn(clues) / 2 else POSSIBLE


@cause(
    "partly-loaded",
    "Only some of the first weights differ: a checkpoint loaded in part (strict=False"
    " with a 'model.' prefix loads nothing, without a word) or layers made in another"
    " order",
    "print what load_state_dict returns: missing_keys and unexpected_keys",
)
def _partly_loaded(clues: Clues) -> float:
    if not clues.starts_with("initial weights"):
        return 0
    return LIKELY if len(clues.first.names) <= _drawn(clues) / 2 else POSSIBLE


def _drawn(clues: Clues) -> int:
    return len(clues.match.parameters) if clues.match else 0


@cause(
    "eval-stays",
    "One run trains layers in eval mode: eval() was called and train() not again (fit()"
    " leaves the mode of each layer as it finds it)",
    "call model.train() at the start of each epoch, and before fit()",
    TRAIN,
)
def _eval_stays(clues: Clues) -> float:
    return CERTAIN if clues.starts_with("mode") else 0


@cause(
    "eval-forgotten",
    "One run evaluates in train mode: dropout drops, batch norm learns from the data",
    "call model.eval() before the evaluation loop and model.train() after it",
    TRAIN,
)
def _eval_forgotten(clues: Clues) -> float:
    modes = [
        {batch["mode"] for batch in run.evaluation(k)}
        for run in clues.runs()
        for k in (clues.step, min(clues.step + 1, len(run.steps)))
    ]
    return (
        CERTAIN
        if clues.starts_with("evaluation", "weights", "mode")
        and modes[0] | modes[1] != modes[2] | modes[3]
        and all((modes[0] | modes[1], modes[2] | modes[3]))
        else 0
    )


@cause(
    "norm-statistics",
    "The running statistics of batch norm differ: another momentum, or one run calls"
    " the model once more in train mode",
    "compare running_mean after the first step; count the forward calls of a step",
)
def _norm_statistics(clues: Clues) -> float:
    only = clues.first.names and all(".running_" in n for n in clues.first.names)
    if clues.starts_with("weights") and only:
        return LIKELY
    return POSSIBLE if clues.starts_with("evaluation") else 0


@cause(
    "precision",
    "One run computes in another precision: autocast on one side only, or around the"
    " model only (a Trainer's covers the loss too), or another dtype of the weights",
    "print loss.dtype and torch.is_autocast_enabled('cpu') in the training step",
)
def _precision(clues: Clues) -> float:
    if not clues.starts_with("initial weights", *FORWARD):
        return 0
    kinds = [[x["precision"] for x in r["batches"]] for r in (clues.a, clues.b)]
    differ = kinds[0] != kinds[1] or clues.a["dtype"] != clues.b["dtype"]
    if clues.match and clues.match.a["dtype"] != clues.match.b["dtype"]:
        differ = True
    return CERTAIN if differ else 0


@cause(
    "random-in-model",
    "The same batch met another random state, and a layer draws from it (dropout,"
    " noise): something random ran in one run only since the last step",
    "print torch.get_rng_state().sum() right before the forward in both scripts",
)
def _random_in_model(clues: Clues) -> float:
    return LIKELY if clues.starts_with("loss") and clues.random_differs() else 0


@cause(
    "loss-divided",
    "One loss is a whole multiple of the other: not divided by the number of batches"
    " accumulated, or summed where the other takes the mean",
    "a Trainer divides by accumulate_grad_batches; look at the loss's reduction",
)
def _loss_divided(clues: Clues) -> float:
    ratio = clues.ratio()
    if not clues.starts_with("loss", "gradient") or not 1.5 < ratio < 1e9:
        return 0
    whole = math.isclose(ratio, round(ratio), rel_tol=1e-5)
    return CERTAIN if whole and not _power(ratio) else 0


@cause(
    "loss-scale",
    "One number is a large power of two times the other: a GradScaler's scale, not"
    " taken out before it is clipped or stepped",
    "call scaler.unscale_(optimizer) before clipping, and step through the scaler",
)
def _loss_scale(clues: Clues) -> float:
    return (
        CERTAIN
        if clues.starts_with("loss", "gradient") and _power(clues.ratio())
        else 0
    )


def _power(ratio: float) -> bool:
    if not 255 < ratio < 1e9:
        return False
    exponent = math.log2(ratio)
    return math.isclose(exponent, round(exponent), abs_tol=1e-4)


@cause(
    "threads",
    "The runs use different numbers of threads: sums are taken in another order",
    "call torch.set_num_threads(1) first thing in both scripts",
)
def _threads(clues: Clues) -> float:
    one, other = clues.header("threads")
    return CERTAIN if one != other and clues.tiny() and _computed(clues) else 0


@cause(
    "machine",
    "The difference is of the size of rounding: another torch, processor or device, or"
    " the same formula computed in another way",
    "compare the first lines of the two traces; run both scripts on one machine",
)
def _machine(clues: Clues) -> float:
    keys = ("torch", "platform", "device", "cpu_capability", "matmul_precision")
    differ = any(len(set(clues.header(key))) > 1 for key in keys)
    if not clues.tiny() or not _computed(clues):
        return 0
    return LIKELY if differ else POSSIBLE


def _computed(clues: Clues) -> bool:
    return clues.starts_with(*FORWARD)


@cause(
    "loss-function",
    "Same batch, mode and trained weights, another loss: the loss function, its"
    " targets, a weight outside the optimizer, or the model's code differ",
    "call both models with one batch and compare output by output",
    DIFFER,
)
def _loss_function(clues: Clues) -> float:
    return POSSIBLE if clues.starts_with("loss") and not clues.tiny() else 0


@cause(
    "evaluated-weights",
    "The evaluation runs on other weights than were just trained: an average (EMA,"
    " SWA), or a checkpoint loaded before it",
    "print a weight's sum right before the evaluation in both scripts",
)
def _evaluated_weights(clues: Clues) -> float:
    if not clues.starts_with("evaluation") or "output" not in clues.first.a:
        return 0
    return POSSIBLE + 0.5 if not clues.tiny() else UNLIKELY
