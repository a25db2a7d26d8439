# ruff: noqa: D401 (the docstring of a cause says what happened)
"""Causes that are seen first in the mode of the layers."""

from __future__ import annotations

from ..evidence import Evidence
from .cause import LIKELY, cause


@cause(LIKELY, {"mode"}, lesson="transfer", case="frozen-batchnorm-learns")
def frozen_layers_mode(e: Evidence) -> str | None:
    """Some layers are in another mode than the rest, as in a frozen backbone.

    Print [n for n, m in model.named_modules() if m.training]. With requires_grad=False
    only weights are frozen: BatchNorm updates its statistics until eval().
    """
    if any(";" in mode for step in e.pair for mode in step.mode):
        return " against ".join(", ".join(dict.fromkeys(s.mode)) for s in e.pair)
    return None


@cause(LIKELY, {"mode"}, lesson="train", case="eval-before-fit")
def eval_before_fit(e: Evidence) -> str | None:
    """The model was put into eval mode before training, and stays in it.

    Print model.training right before the loop. A Trainer keeps the mode it is given:
    call model.train() before fit.
    """
    if e.step == 0 and not frozen_layers_mode.sign(e):
        return "the modes differ from the first step on"
    return None


@cause(LIKELY, {"mode"}, lesson="train", case="train-forgotten")
def train_forgotten(e: Evidence) -> str | None:
    """After an evaluation nobody calls model.train() again.

    Print model.training at the start of each epoch.
    """
    if e.step > 0 and not frozen_layers_mode.sign(e):
        return f"the modes were alike until step {e.step}"
    return None
