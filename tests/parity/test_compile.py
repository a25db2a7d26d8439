"""The lesson compile computes the same in both halves, and compiles both steps."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.fx import GraphModule

from shared.checkpoints.whole_files import read_checkpoint
from shared.model import AutoEncoder
from shared.options.train import Config as TrainConfig
from tests.parity.halves import Ran, assert_same, run_half

HALVES = ("plain_pytorch", "lightning")


def run_one(half: str, config: TrainConfig) -> Ran:
    torch.compiler.reset()  # it gives a function up that is compiled for many models
    return run_half(half, "compile", config, config.output_dir / half)


def test_both_steps_are_compiled_and_compute_what_train_computes(
    small: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_gradient = []

    def backend(graph: GraphModule, _inputs: list[Tensor]) -> Callable[..., Any]:
        """Take the graph of a step as it is, which needs no compiler and no time."""
        with_gradient.append(torch.is_grad_enabled())
        return graph.forward

    config = replace(
        small, max_epochs=1, limit_train_batches=3, limit_val_batches=2, batch_size=8
    )
    train = run_half("plain_pytorch", "train", config, config.output_dir / "train")
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    ran = {}
    for half in HALVES:
        with_gradient.clear()
        ran[half] = run_one(half, config)
        assert {*with_gradient} == {True, False}  # of training and validation
    assert_same(*ran.values())
    # The recorder sees nothing inside of a compiled step, but all that comes of it.
    results = ran["lightning"].results
    assert results.keys() == train.results.keys()
    for name, values in train.results.items():
        assert torch.equal(results[name], values), name
    for half in HALVES:
        path = config.output_dir / half / "checkpoints" / "last.ckpt"
        keys = read_checkpoint(path)["state_dict"].keys()
        assert keys == AutoEncoder().state_dict().keys()  # and no prefix _orig_mod.


@pytest.mark.slow
def test_same(small: TrainConfig) -> None:
    # A short batch comes last: 4,000 images in batches of 333.
    config = replace(small, batch_size=333, max_epochs=1, limit_train_batches=None)
    plain, lightning = (run_one(half, config) for half in HALVES)
    assert len(plain.trace.steps) == 13
    assert_same(plain, lightning)
    # The compiler joins and reorders what is rounded: other last bits than without.
    train = run_half("plain_pytorch", "train", config, config.output_dir / "train")
    with pytest.raises(AssertionError, match=r"at step \d"):
        assert_same(plain, train)
    losses = [ran.results["val_loss"][-1, 1].item() for ran in (plain, train)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-2)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU here")
def test_same_on_a_gpu(small: TrainConfig) -> None:
    config = replace(small, accelerator="cuda")
    assert_same(*(run_one(half, config) for half in HALVES))
