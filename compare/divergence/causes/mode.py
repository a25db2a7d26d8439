# ruff: noqa: D401 (a rule's docstring is what the user reads)
"""Causes seen first in the mode of the layers."""

from __future__ import annotations

from compare.divergence.causes.rule import cause
from compare.divergence.evidence import Evidence


@cause("mode", lesson="transfer")
def frozen_layers_mode(e: Evidence) -> str | None:
    """Some layers are in another mode than the rest, as in a frozen backbone.

    Print [n for n, m in model.named_modules() if m.training]. requires_grad=False
    freezes weights only: BatchNorm goes on updating its statistics until eval().
    """
    if e.pair and any(";" in step.mode for step in e.pair):
        return " against ".join(step.mode for step in e.pair)
    return None


@cause("mode", lesson="train")
def eval_before_fit(e: Evidence) -> str | None:
    """The model was put into eval mode before training, and stays in it.

    Print model.training right before the loop. A Trainer keeps the mode it is given:
    call model.train() before fit.
    """
    if e.pair and e.step == 0:
        return "the modes differ from the first step on"
    return None


@cause("mode", lesson="train")
def train_forgotten(e: Evidence) -> str | None:
    """After an evaluation nobody calls model.train() again.

    Print model.training at the start of each epoch.
    """
    if e.pair and e.step > 0:
        return f"the modes were alike until step {e.step}"
    return None


@cause("evaluation", lesson="train")
def eval_forgotten(e: Evidence) -> str | None:
    """One run evaluates in train mode: model.eval() is missing.

    Print model.training inside the evaluation. Dropout stays on, and BatchNorm learns
    from the evaluation data.
    """
    modes = [{x.mode for x in side} for side in e.evaluations]
    if all(modes) and modes[0] != modes[1]:
        return " against ".join(", ".join(sorted(mode)) for mode in modes)
    return None
