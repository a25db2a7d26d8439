"""Run one half of a lesson in this process and keep all its numbers."""

import importlib
from pathlib import Path
from unittest.mock import patch

import torch
from torch import Tensor

from compare.results import read_results
from shared.config import Config
from shared.model import AutoEncoder


def run_half(
    half: str, lesson: str, config: Config, run_dir: Path
) -> dict[str, Tensor]:
    """Return the results of a run, and with them the loss of every batch, in order.

    `losses` has those of training, `evaluation losses` those of validation and test. A
    Trainer's sanity check, the evaluation before the first step, is left out.
    """
    losses: dict[bool, list[Tensor]] = {True: [], False: []}
    reconstruction_loss = AutoEncoder.reconstruction_loss

    def record(model: AutoEncoder, images: Tensor) -> Tensor:
        loss = reconstruction_loss(model, images)
        if losses[True] or loss.requires_grad:
            losses[loss.requires_grad].append(loss.detach().clone())
        return loss

    run_dir.mkdir(parents=True)
    main = importlib.import_module(f"{half}.{lesson}").main
    with patch.object(AutoEncoder, "reconstruction_loss", record):
        main(config, run_dir)
    return {
        "losses": torch.stack(losses[True]),
        "evaluation losses": torch.stack(losses[False]),
        **read_results(run_dir),
    }


def assert_same(plain: dict[str, Tensor], lightning: dict[str, Tensor]) -> None:
    """Fail unless both have the same quantities, equal to the last bit."""
    assert plain.keys() == lightning.keys()
    for name in plain:
        assert torch.equal(plain[name], lightning[name]), name
