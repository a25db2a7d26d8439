import os
from functools import lru_cache

import pytest
import torch

from compare.clinic import CASES
from compare.clinic.__main__ import main
from compare.clinic.case import Case, record
from compare.divergence.causes import CAUSES
from compare.divergence.difference import Comparison, compare_runs
from compare.divergence.report import findings
from compare.divergence.size import sizes


@lru_cache
def diagnosis(case: Case) -> Comparison:
    healthy = record("healthy", case.healthy)
    return compare_runs(healthy, record("sick", lambda: case.train(True)))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_case_differs_where_it_says(case: Case) -> None:
    first = diagnosis(case).first
    assert first is not None
    assert (first.step, first.quantity) == (case.step, case.quantity)
    assert case.cause in [finding.cause.name for finding in findings(diagnosis(case))]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_mended_run_is_the_same(case: Case) -> None:
    mended = record("mended", lambda: case.train(False))
    again = compare_runs(diagnosis(case).a, mended)
    assert again.first is None
    assert again.pairs


def test_the_planted_cause_comes_first() -> None:
    wrong = {
        name: findings(diagnosis(case))[0].cause.name
        for name, case in CASES.items()
        if findings(diagnosis(case))[0].cause.name != case.cause
    }
    assert len(CASES) >= 80
    assert not wrong


def test_training_amplifies_the_last_bit() -> None:
    comparison = diagnosis(CASES["last-bit-amplified"])
    assert comparison.first
    _, found = sizes(comparison, comparison.first)
    assert found[0].relative < 1e-6
    assert found[-1].relative > 1e-3


def test_every_cause_a_case_names_exists() -> None:
    assert {case.cause for case in CASES.values()} <= {cause.name for cause in CAUSES}
    assert len({cause.name for cause in CAUSES}) == len(CAUSES)


def test_every_cause_is_shown_in_the_clinic() -> None:
    hard_to_plant = {"crashed"}
    for cause in CAUSES:
        if cause.name not in hard_to_plant:
            assert CASES[cause.case].cause == cause.name


def test_a_case_leaves_nothing_changed_behind() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state(), torch.get_num_threads(), dict(os.environ)
    record("sick", lambda: CASES["manual-without-scheduler"].train(True))
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1:] == (torch.get_num_threads(), dict(os.environ))


def test_command_lists_the_cases(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in CASES)


def test_command_shows_sick_and_mended(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zero-grad-forgotten"]) == 0
    shown = capsys.readouterr().out
    assert "healthy and sick first differ at step 1, in the gradient" in shown
    assert "1. zero-grad-forgotten: One run does not clear" in shown
    assert "healthy and mended are the same: 6 steps" in shown


def test_command_refuses_an_unknown_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["nonsense"])
    assert refused.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
