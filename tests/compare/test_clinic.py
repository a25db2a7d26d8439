import subprocess
import sys

import pytest

from compare.causes.clues import CAUSES
from compare.clinic import CASES, compare_runs


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


def clinic(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "compare.clinic", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_command_lists_and_shows() -> None:
    listed = clinic()
    assert listed.returncode == 0
    assert all(name in listed.stdout for name in CASES)
    shown = clinic("zero-grad-forgotten").stdout
    sick, mended = shown.split("--- Mended")
    assert "differ first at step 1 (counted from 0), in the gradient" in sick
    assert "1. One run does not clear the gradient" in sick
    assert "The runs are the same, bit for bit, in 10 steps" in mended


def test_an_unknown_case_is_one_line() -> None:
    result = clinic("nope")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("error: no case nope")
    assert result.stderr.count("\n") == 1
