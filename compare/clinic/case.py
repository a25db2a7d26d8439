"""What a case of the clinic is, and how its two runs are compared."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from compare.clinic.kit import by_trainer
from compare.divergence import Comparison, compare
from compare.trace import trace

Runner = Callable[[bool], None]


@dataclass(frozen=True)
class Case:
    """A mistake, planted in `port`, which otherwise does what `reference` does.

    Both are called with `sick`: true plants the mistake, false is the mend. Most
    references do not look at it. `step` and `quantity` are where the runs part, `cause`
    is the name of the rule that should say why, `thread` where people met it.
    """

    name: str
    title: str
    mend: str
    step: int
    quantity: str
    cause: str
    thread: str
    port: Runner
    reference: Runner


CASES: dict[str, Case] = {}


def case(
    title: str,
    *,
    mend: str,
    step: int,
    quantity: str,
    cause: str,
    thread: str = "",
    reference: Runner = by_trainer,
) -> Callable[[Runner], Runner]:
    """Add the function under it to the clinic, under its own name."""

    def add(port: Runner) -> Runner:
        name = port.__name__.replace("_", "-")
        CASES[name] = Case(
            name, title, mend, step, quantity, cause, thread, port, reference
        )
        return port

    return add


def compare_runs(case: Case, *, sick: bool) -> Comparison:
    """Run the reference and the port on one thread, and compare their traces.

    Args:
        case: which case.
        sick: whether the mistake is in.
    """
    threads = torch.get_num_threads()
    traces = []
    try:
        for name, run in (("reference", case.reference), ("port", case.port)):
            torch.set_num_threads(1)
            with torch.random.fork_rng(devices=[]), trace() as recorded:
                run(sick)
            traces.append(recorded.trace(f"the {name} of {case.name}"))
    finally:
        torch.set_num_threads(threads)
    return compare(*traces)
