import sys

import pytest

from compare.causes.clues import CAUSES
from compare.clinic import CASES, compare_runs
from compare.clinic.__main__ import main


@pytest.fixture(scope="module")
def found() -> dict[str, list[str]]:
    """The causes each case was told, filled in by the tests of the cases."""
    return {}


@pytest.mark.parametrize("name", CASES)
def test_the_mistake_is_found_and_the_mend_mends(
    name: str, found: dict[str, list[str]]
) -> None:
    case = CASES[name]
    sick = compare_runs(case, sick=True).divergence
    assert sick is not None
    assert (sick.step, sick.quantity) == (case.step, case.quantity)
    assert case.cause in [cause.name for cause in sick.causes]
    assert compare_runs(case, sick=False).divergence is None
    found[name] = [cause.name for cause in sick.causes]


def test_the_planted_cause_comes_first_in_most(found: dict[str, list[str]]) -> None:
    for name in CASES.keys() - found.keys():  # where only this test was asked for
        sick = compare_runs(CASES[name], sick=True).divergence
        found[name] = [cause.name for cause in sick.causes] if sick else []
    first = [
        name for name, causes in found.items() if causes[:1] == [CASES[name].cause]
    ]
    assert len(first) >= 0.9 * len(CASES)


def test_there_are_enough_cases_and_they_name_rules_that_exist() -> None:
    assert len(CASES) >= 25
    assert {case.cause for case in CASES.values()} <= {cause.name for cause in CAUSES}
    assert len({cause.name for cause in CAUSES}) == len(CAUSES)


def clinic(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["clinic", *arguments])
    main()


def test_the_command_lists_and_shows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clinic(monkeypatch)
    listed = capsys.readouterr().out
    assert all(name in listed for name in CASES)
    clinic(monkeypatch, "zero-grad-forgotten")
    sick, mended = capsys.readouterr().out.split("--- Mended")
    assert "differ first at step 1 (counted from 0), in the gradient" in sick
    assert "1. One run does not clear the gradient" in sick
    assert "The runs are the same, bit for bit, in 10 steps" in mended


def test_an_unknown_case_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        clinic(monkeypatch, "nope")
    stdout, stderr = capsys.readouterr()
    assert (exit_.value.code, stdout) == (2, "")
    assert stderr.startswith("error: no case nope")
    assert stderr.count("\n") == 1
