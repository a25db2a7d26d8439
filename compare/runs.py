"""Two traces laid side by side: which optimizer, parameter and step is which."""

import json
from dataclasses import dataclass, field

from compare.tracefile import Record, Trace

WRAPPERS = {"module", "_orig_mod", "_forward_module"}  # DDP, torch.compile, Fabric


@dataclass
class Run:
    """The steps of a trace, and the evaluation between them, parsed when asked for."""

    trace: Trace
    steps: list[str] = field(default_factory=list)
    evals: list[list[str]] = field(default_factory=lambda: [[]])  # [k]: before step k

    def step(self, k: int) -> Record:
        """Give the record of a step, counted from 0."""
        return json.loads(self.steps[k])

    def evaluation(self, k: int) -> list[Record]:
        """Give the evaluation batches between step k - 1 and step k."""
        return [json.loads(line) for line in self.evals[k]]

    def options(self, k: int) -> list[Record]:
        """Give the settings of the parameter groups that step k was made with."""
        optimizer = self.step(k)["optimizer"]
        for i in range(k, -1, -1):
            if '"options":' in self.steps[i]:
                record = self.step(i)
                if record["optimizer"] == optimizer:
                    return record["options"]
        return []


@dataclass
class Match:
    """An optimizer of run a and its counterpart in run b.

    `parameters` and `statistics` are pairs of positions; `whole` is true where neither
    run has a parameter the other lacks, all in the same order.
    """

    a: Record
    b: Record
    parameters: list[tuple[int, int]]
    statistics: list[tuple[int, int]]

    @property
    def whole(self) -> bool:
        """Whether one fingerprint over everything can be compared."""
        return all(
            pairs == [(i, i) for i in range(max(len(self.a[key]), len(self.b[key])))]
            for key, pairs in (
                ("names", self.parameters),
                ("statistics", self.statistics),
            )
        )


@dataclass
class Pair:
    """Two runs, with only the steps of optimizers that both have."""

    a: Run
    b: Run
    matches: list[Match]
    remarks: list[str]

    def __len__(self) -> int:
        """Count the steps both runs have."""
        return min(len(self.a.steps), len(self.b.steps))

    def match(self, k: int) -> Match | None:
        """Give the optimizers of step k, or None where the runs step different ones."""
        i, j = self.a.step(k)["optimizer"], self.b.step(k)["optimizer"]
        for match in self.matches:
            if (match.a["optimizer"], match.b["optimizer"]) == (i, j):
                return match
        return None


def pair(a: Trace, b: Trace) -> Pair:
    """Find what corresponds to what in two traces.

    Optimizers are matched by the names of their parameters, wrappers and a common
    prefix left out, or else by the parameters' shapes. Steps of an optimizer that the
    other run has not are left out, with a remark.
    """
    known = _optimizers(a), _optimizers(b)
    left = list(known[1].values())
    matches, remarks = [], []
    for one in known[0].values():
        # the counterpart is the one that shares most parameters, the earlier one first
        found = max(left, key=lambda other: len(_positions(one, other)), default=None)
        alone = len(known[0]) == len(known[1]) == 1
        if found is None or not (alone or _positions(one, found)):
            remarks.append(_left_out(a, one))
            continue
        left.remove(found)
        match = Match(
            one,
            found,
            _positions(one, found),
            _by_name(one["statistics"], found["statistics"]),
        )
        matches.append(match)
        remarks += _unshared(match)
    remarks += [_left_out(b, other) for other in left]
    return Pair(
        _run(a, {match.a["optimizer"] for match in matches}),
        _run(b, {match.b["optimizer"] for match in matches}),
        matches,
        remarks,
    )


def _optimizers(trace: Trace) -> dict[int, Record]:
    """Give each optimizer's latest record, with the weights of its first."""
    found: dict[int, Record] = {}
    for line in trace.lines:
        if line.startswith('{"optimizer"'):
            record = json.loads(line)
            first = found.get(record["optimizer"], record)
            found[record["optimizer"]] = record | {"weights": first["weights"]}
    return found


def _run(trace: Trace, kept: set[int]) -> Run:
    run = Run(trace)
    for line in trace.lines:
        if line.startswith('{"eval"'):
            run.evals[-1].append(line)
        elif line.startswith('{"step"') and json.loads(line)["optimizer"] in kept:
            run.steps.append(line)
            run.evals.append([])
    return run


def _positions(a: Record, b: Record) -> list[tuple[int, int]]:
    """Pair the positions of the parameters that two optimizers share."""
    pairs = _by_name(a["names"], b["names"])
    if len(pairs) < len(a["names"]) and a["shapes"] == b["shapes"]:
        return [(i, i) for i in range(len(a["names"]))]
    return [(i, j) for i, j in pairs if a["shapes"][i] == b["shapes"][j]]


def _by_name(a: list[str], b: list[str]) -> list[tuple[int, int]]:
    """Pair the positions of equal names, with or without the prefix common to all."""
    best: list[tuple[int, int]] = []
    for names_a, names_b in (
        (_bare(a), _bare(b)),
        (_unprefixed(_bare(a)), _unprefixed(_bare(b))),
    ):
        where = {name: position for position, name in enumerate(names_b)}
        pairs = [(i, where[name]) for i, name in enumerate(names_a) if name in where]
        best = max(best, pairs, key=len)
    return best


def _bare(names: list[str]) -> list[str]:
    return [".".join(p for p in n.split(".") if p not in WRAPPERS) for n in names]


def _unprefixed(names: list[str]) -> list[str]:
    while names and all("." in name for name in names):
        first, _, _ = names[0].partition(".")
        if not all(name.startswith(first + ".") for name in names):
            break
        names = [name.partition(".")[2] for name in names]
    return names


def _left_out(trace: Trace, optimizer: Record) -> str:
    return (
        f"only {trace.source} steps {optimizer['class']} over"
        f" {_few(optimizer['names'])}: its steps are left out"
    )


def _unshared(match: Match) -> list[str]:
    remarks = []
    for side, record, seen in (
        ("a", match.a, {i for i, _ in match.parameters}),
        ("b", match.b, {j for _, j in match.parameters}),
    ):
        names = [name for i, name in enumerate(record["names"]) if i not in seen]
        if names:
            remarks.append(
                f"without a counterpart in the other run: {_few(names)} of {side}"
            )
    return remarks


def _few(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
