from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compare.divergence.difference import Comparison, compare_runs
from compare.divergence.remarks import remarks
from compare.trace.command import trace
from tests.compare.strangers import Setup, by_hand, by_trainer

SETUPS = st.builds(
    Setup,
    seed=st.integers(0, 1000),
    epochs=st.integers(1, 3),
    samples=st.sampled_from([16, 22, 25]),
    batch_size=st.sampled_from([4, 5]),
    optimizer=st.sampled_from(["SGD", "Adam", "AdamW", "RMSprop"]),
    dropout=st.sampled_from([0.0, 0.5]),
    norm=st.sampled_from(["BatchNorm1d", "LayerNorm"]),
    accumulate=st.integers(1, 3),
    clip=st.sampled_from([None, 0.1]),
    bf16=st.booleans(),
    sanity=st.booleans(),
    schedule=st.booleans(),
).filter(lambda s: s.samples % s.batch_size != 1)  # BatchNorm needs two rows


def both(setup: Setup, port: Setup) -> Comparison:
    with trace() as hand:
        by_hand(setup)
    with trace() as trainer:
        by_trainer(port)
    return compare_runs(hand, trainer)


@settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(SETUPS)
def test_a_healthy_pair_gives_no_alarm(setup: Setup) -> None:
    comparison = both(setup, setup)
    assert comparison.first is None, comparison.first
    assert len(comparison.pairs) >= setup.epochs
    assert comparison.evaluations


def test_the_same_pair_with_a_mistake_does() -> None:
    setup = Setup()
    first = both(setup, replace(setup, clip=0.1)).first
    assert first is not None
    assert (first.step, first.quantity) == (0, "gradient")


def test_a_sanity_check_is_a_remark() -> None:
    said = remarks(both(Setup(), Setup()))
    assert len(said) == 1
    assert "sanity check" in said[0]
