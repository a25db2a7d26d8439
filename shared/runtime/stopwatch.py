"""The time that the parts of a run take, for the lesson `debugging`."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

from tabulate import tabulate
from torch.profiler import record_function


class Stopwatch:
    """Takes the time of parts of a program, by the clock.

    A GPU computes later than it is told: there, a part's time holds what it waits for.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = defaultdict(list)

    @contextmanager
    def time(self, name: str) -> Iterator[None]:
        """Take the time of a `with` block, and name it in a trace of torch.profiler."""
        start = perf_counter()
        with record_function(name):
            yield
        self.seconds[name].append(perf_counter() - start)

    def table(self) -> str:
        """Return the calls of every part, and its seconds, all and on average."""
        rows = [
            (name, len(times), sum(times), sum(times) / len(times))
            for name, times in self.seconds.items()
        ]
        return tabulate(rows, headers=["part", "calls", "total, s", "mean, s"])
