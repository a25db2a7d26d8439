"""What is worth saying about two runs though it makes no number differ."""

from compare.runs import Pair
from compare.tracefile import Record


def remarks(runs: Pair, harmless: dict[str, list[int]], until: int) -> list[str]:
    """Give the remarks, a sentence each.

    Args:
        runs: the two runs.
        harmless: the steps at which a quantity differed that changed no result.
        until: the first differing step, or the number of steps compared.
    """
    found = list(runs.remarks)
    for name, run in (("a", runs.a), ("b", runs.b)):
        end = run.trace.end
        if run.trace.cut:
            found.append(
                f"run {name} was cut off after {len(run.steps)} steps (killed?)"
            )
        elif end["end"] != "finished":
            found.append(f"run {name} ended with {end['end']}")
    for quantity, steps in harmless.items():
        found.append(
            f"the {quantity} differs at {len(steps)} steps, first at {steps[0]}, and"
            " changes no result there: the same in another form, or without effect"
        )
    found += _random(runs, until) + _alone(runs) + _settings(runs)
    return found


def _random(runs: Pair, until: int) -> list[str]:
    """Say where the random states part before any number does."""
    for k in range(until):
        a, b = rng(runs.a.step(k)), rng(runs.b.step(k))
        names = [name for name in a if name in b and a[name] != b[name]]
        if until == len(runs):  # python's and numpy's change with what is imported
            names = [name for name in names if name in ("torch", "cuda")]
        if names:
            return [
                f"the random state ({', '.join(names)}) differs from step {k} on, and"
                " no number did at first"
            ]
    return []


def rng(step: Record) -> dict[str, str]:
    """Give the random states as the step's first batch entered the model."""
    return step["batches"][0]["rng"] if step["batches"] else {}


def _alone(runs: Pair) -> list[str]:
    """Say where only one run evaluates."""
    found = []
    for name, run, other in (("a", runs.a, runs.b), ("b", runs.b, runs.a)):
        places = [
            k for k in range(len(runs) + 1) if run.evals[k] and not other.evals[k]
        ]
        if places[:1] == [0]:
            found.append(f"only run {name} evaluates before step 0 (a sanity check?)")
            places = places[1:]
        if places:
            found.append(
                f"only run {name} evaluates after step {places[0] - 1}"
                + (f" and {len(places) - 1} more" if len(places) > 1 else "")
            )
    return found


def _settings(runs: Pair) -> list[str]:
    a, b = ({**r.trace.header, **r.trace.header["settings"]} for r in (runs.a, runs.b))
    return [
        f"{key}: {a[key]} in run a, {b.get(key)} in run b"
        for key in a
        if key not in ("command", "settings", "rank") and a[key] != b.get(key)
    ]
