"""A loop and its port, strangers to this repository, raise no false alarm."""

from typing import Any

import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from compare.divergence import compare
from compare.trace import trace
from tests.compare.strangers import loop, port

OPTIONS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "epochs": st.integers(1, 3),
        "batch_size": st.integers(3, 16),
        "samples": st.integers(20, 50),
        "dropout": st.sampled_from([0.0, 0.3]),
        "norm": st.booleans(),
        "accumulate": st.integers(1, 4),
        "clip": st.sampled_from([0.0, 0.05]),
        "bf16": st.booleans(),
        "optimizer": st.sampled_from(["SGD", "Adam", "AdamW", "RMSprop"]),
        "schedule": st.sampled_from(["", "step", "epoch"]),
        "sanity": st.booleans(),
        "seed": st.integers(0, 1000),
    }
)


@settings(max_examples=20, deadline=None, derandomize=True, database=None)
@given(options=OPTIONS)
def test_a_loop_and_its_port_are_the_same(options: dict[str, Any]) -> None:
    assume(options["samples"] % options["batch_size"] != 1)  # batch norm needs two
    with torch.random.fork_rng(devices=[]):
        with trace() as a:
            loop.main(options)
        with trace() as b:
            port.main(options)
    comparison = compare(a.trace("loop"), b.trace("port"))
    assert comparison.divergence is None
    assert len(comparison.pair) >= options["epochs"]
    evaluated = [len(group) for group in comparison.pair.a.evals]
    assert sum(evaluated) >= options["epochs"]
    assert comparison.pair.matches[0].whole
    alone = "only run b evaluates before step 0 (a sanity check?)"
    assert (alone in comparison.remarks) == options["sanity"]
    assert not any(
        text.startswith("the ") for text in comparison.remarks if "batch" in text
    )
