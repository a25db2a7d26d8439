"""Find the first step, and in it the first quantity, in which two runs differ."""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..trace.run import (
    NO_TENSOR,
    Batch,
    Evaluation,
    Optimizer,
    Run,
    Step,
    Tensors,
    UnusableTraceError,
)
from .align import Alignment, Match, align, match

Batches = tuple[list[Evaluation], list[Evaluation]]
Found = tuple[str, str, str, str]  # of a Difference: quantity, a, b, detail


@dataclass(frozen=True)
class Difference:
    """The place at which two runs differ, and the quantity.

    Steps are counted from 0. An evaluation belongs to the step before it: to -1 when
    there is none. quantity is one of batch, mode, loss, gradient, learning rate,
    weights, buffers, evaluation, optimizer, length.
    """

    step: int
    quantity: str
    a: str
    b: str
    detail: str = ""


@dataclass
class Comparison:
    """Two runs, step beside step, and where they part."""

    a: Run
    b: Run
    alignment: Alignment
    pairs: list[tuple[Step, Step]]
    evaluations: dict[int, Batches]  # by the number of steps done before
    first: Difference | None = None
    in_training: Difference | None = None  # the first that is no evaluation

    def match(self, a: Step, b: Step) -> Match:
        """Return how the parameters of two steps belong together."""
        return self.alignment.matches[a.optimizer, b.optimizer]

    @property
    def weights_comparable(self) -> bool:
        """Tell whether weights have the same kind of fingerprint in both runs."""
        kinds = [run.start.get("fingerprint") for run in (self.a, self.b)]
        return kinds[0] == kinds[1]


def compare_runs(a: Run, b: Run) -> Comparison:
    """Compare two runs bit for bit; what only one of them has is a difference too.

    Raises UnusableTraceError where nothing was seen that could be compared.
    """
    _check_seen(a, b)
    alignment = align(a, b)
    steps: list[list[Step]] = []
    evaluations: dict[int, Batches] = {}
    both = (a, alignment.role_a), (b, alignment.role_b)
    for index, (run, roles) in enumerate(both):
        # leave out the steps of an optimizer that the other run has not
        kept = [i for i, s in enumerate(run.steps) if roles[s.optimizer] is not None]
        steps.append([run.steps[i] for i in kept])
        for evaluation in run.evaluations:
            done = bisect_left(kept, evaluation.after)
            evaluations.setdefault(done, ([], []))[index].append(evaluation)
    pairs = list(zip(*steps, strict=False))
    result = Comparison(a, b, alignment, pairs, evaluations)
    found = list(_differences(result, len(steps[0]), len(steps[1])))
    result.first = found[0] if found else None
    training = (d for d in found if d.quantity != "evaluation")
    result.in_training = next(training, None)
    if not found and not result.weights_comparable:
        raise UnusableTraceError(
            "the weights were not compared: one trace was recorded with xxhash, or on"
            " a GPU, and the other without; batches and losses are the same"
        )
    return result


def _check_seen(a: Run, b: Run) -> None:
    only_evaluated = not (a.steps or b.steps) and a.evaluations and b.evaluations
    for run in (a, b):
        if run.steps or (only_evaluated and not run.unseen):
            continue
        why = "; ".join([*(f"not seen: {what}" for what in run.unseen), run.crashed])
        raise UnusableTraceError(
            f"no optimizer step was seen in {run.name}, so nothing can be compared"
            f" ({why.strip('; ') or 'no torch.optim.Optimizer took one'}). Updates by"
            " hand, by torch.func, by an optimizer of another kind, in a compiled step"
            " or in another process or thread are not seen"
        )


def _differences(
    result: Comparison, count_a: int, count_b: int
) -> Iterator[Difference]:
    """Yield differences in the order of time, up to the first in training."""
    for number, (a, b) in enumerate(result.pairs):
        if number:
            yield from _in_evaluations(result, number)
        if found := _in_step(result, a, b):
            yield Difference(number, *found)
            return
    last = len(result.pairs)
    if count_a != count_b:
        yield Difference(last, "length", f"{count_a} steps", f"{count_b} steps")
        return
    if last or not (result.a.steps or result.b.steps):  # or nothing but evaluation
        yield from _in_evaluations(result, last)
    without_a = _without_role(result.a, result.alignment.role_a)
    without_b = _without_role(result.b, result.alignment.role_b)
    if without_a or without_b:
        texts = without_a or "-", without_b or "-"
        yield Difference(last, "optimizer", *texts, "only one run has it")


def _in_step(result: Comparison, a: Step, b: Step) -> Found | None:
    """Return the first quantity in which two steps differ, in the order of time."""
    one, other = result.a.optimizers[a.optimizer], result.b.optimizers[b.optimizer]
    roles = result.alignment.role_a[a.optimizer], result.alignment.role_b[b.optimizer]
    if roles[0] != roles[1]:
        text_a, text_b = (f"{o.name} of {o.names[0]}" for o in (one, other))
        return "optimizer", text_a, text_b, "whose turn it is"
    if found := _in_forwards(a, b):
        return found
    how = result.match(a, b)
    if result.weights_comparable:
        where = _in_tensors(a.gradient, b.gradient, how, one.names)
        if where := where or _only_in_one(a, b, how, (one, other)):
            return "gradient", *_norms(a.gradient, b.gradient), where
    for i, j in how.pairs:
        rates = a.lr[one.groups[i]], b.lr[other.groups[j]]
        if rates[0] != rates[1]:
            return "learning rate", str(rates[0]), str(rates[1]), f"of {one.names[i]}"
    if not result.weights_comparable:
        return None
    if where := _in_tensors(a.weights, b.weights, how, one.names):
        return "weights", *_norms(a.weights, b.weights), where
    if a.buffers and b.buffers:
        how = match(a.buffers[0], b.buffers[0])
        names = a.buffers[0].names
        if where := _in_tensors(a.buffers[1], b.buffers[1], how, names, "buffers"):
            return "buffers", *_norms(a.buffers[1], b.buffers[1]), where
    return None


def _in_forwards(a: Step, b: Step) -> Found | None:
    """Compare batches, modes and losses in the order in which they came."""
    seen = bool(a.batch and b.batch)  # a compiler may hide it: then no evidence
    if seen and len(a.batch) != len(b.batch):
        return "batch", _count(a.batch), _count(b.batch), "their number in a step"
    in_turn = seen and len(a.loss) == len(b.loss) == len(a.batch)
    for index in range(len(a.batch) if seen else 0):
        where = f"number {index} of {len(a.batch)}" if len(a.batch) > 1 else ""
        one, other = a.batch[index], b.batch[index]
        if one and other and not same_batch(one, other):
            return "batch", _show(one), _show(other), where
        if one and other and a.mode[index] != b.mode[index]:
            return "mode", a.mode[index], b.mode[index], where
        if in_turn and _bits(a.loss[index]) != _bits(b.loss[index]):
            return "loss", repr(a.loss[index]), repr(b.loss[index]), where
    if len(a.loss) != len(b.loss):
        return "loss", _numbers(a.loss), _numbers(b.loss), "their number"
    for index, (loss_a, loss_b) in enumerate(zip(a.loss, b.loss, strict=True)):
        if _bits(loss_a) != _bits(loss_b):
            where = f"evaluation {index + 1} of {len(a.loss)}" if a.closure else ""
            return "loss", _numbers(a.loss[index:]), _numbers(b.loss[index:]), where
    return None


def _in_evaluation(a: Evaluation, b: Evaluation) -> tuple[str, str, str] | None:
    """Return what differs between two evaluation batches, and both values."""
    if a.batch and b.batch and not same_batch(a.batch, b.batch):
        return "input", _show(a.batch), _show(b.batch)
    if a.mode != b.mode:
        return "mode", a.mode, b.mode
    if a.output and b.output and a.output.hashes != b.output.hashes:
        compiled = [o.layer == "OptimizedModule" for o in (a.output, b.output)]
        if compiled[0] == compiled[1]:  # else one is not the last layer's
            return "output", *_norms(a.output, b.output)
    return None


def same_batch(a: Batch, b: Batch) -> bool:
    """Tell whether all tensors that both runs show, and could be read, are the same.

    One run may show more: the targets, where a wrapper is given them.
    """
    one, other = (list(zip(x.hash, x.dtype, strict=True)) for x in (a, b))
    if len(one) == len(other):
        pairs = zip(one, other, strict=True)
        return all(x == y or None in (x[0], y[0]) for x, y in pairs)
    few, many = sorted((Counter(one), Counter(other)), key=Counter.total)
    return all(x[0] is None or many[x] >= count for x, count in few.items())


def _in_evaluations(result: Comparison, done: int) -> Iterator[Difference]:
    """Yield the first difference among the batches evaluated after so many steps."""
    a, b = result.evaluations.get(done, ([], []))
    for index, (one, other) in enumerate(zip(a, b, strict=False)):
        found = _in_evaluation(one, other)
        if found and (found[0] != "output" or result.weights_comparable):
            what, text_a, text_b = found
            where = f"{what} of batch {index} of {len(a)}"
            yield Difference(done - 1, "evaluation", text_a, text_b, where)
            return
    if len(a) != len(b):
        yield Difference(done - 1, "evaluation", _count(a), _count(b), "their number")


def _without_role(run: Run, roles: Sequence[int | None]) -> str:
    """Return the classes of the optimizers that the other run has not."""
    pairs = zip(run.optimizers, roles, strict=True)
    return ", ".join(optimizer.name for optimizer, role in pairs if role is None)


def _in_tensors(
    a: Tensors, b: Tensors, how: Match, names: Sequence[str], kind: str = "parameters"
) -> str | None:
    """Return which tensors differ, in words; None when all are the same."""
    different = [names[i] for i, j in how.pairs if a.hash_of(i) != b.hash_of(j)]
    if different:
        more = f" and {len(different) - 1} more" if len(different) > 1 else ""
        return f"{different[0]}{more}, of {len(how.pairs)} {kind}"
    complete = kind == "parameters" and not how.only_a and not how.only_b
    # the hash of all has more bits than those of each
    return f"of {len(how.pairs)} {kind}" if complete and a.hash != b.hash else None


def _only_in_one(
    a: Step, b: Step, how: Match, optimizers: tuple[Optimizer, Optimizer]
) -> str | None:
    """Return which parameters have a gradient that the other run has no place for."""
    one, other = optimizers
    names = [one.names[i] for i in how.only_a if a.gradient.hash_of(i) != NO_TENSOR]
    names += [other.names[j] for j in how.only_b if b.gradient.hash_of(j) != NO_TENSOR]
    return f"{', '.join(names[:3])}: in one optimizer only" if names else None


def _bits(value: float) -> bytes:
    """Tell -0.0 from 0.0, but not one NaN from another."""
    return b"nan" if value != value else struct.pack("d", value)


def _numbers(values: Sequence[float]) -> str:
    shown = ", ".join(map(repr, values[:4]))
    return f"{shown}, ... ({len(values)})" if len(values) > 4 else shown or "-"


def _count(batches: Sequence[object]) -> str:
    return "1 batch" if len(batches) == 1 else f"{len(batches)} batches"


def _show(batch: Batch) -> str:
    """Return the shape, dtype, mean and hash of each tensor."""
    parts = zip(batch.shape, batch.dtype, batch.mean, batch.hash, strict=True)
    return " and ".join(
        f"{'x'.join(map(str, shape)) or 'scalar'} {dtype} mean {mean:.6g},"
        f" hash {str(code)[:8]}"
        for shape, dtype, mean, code in parts
    )


def _norms(a: Tensors, b: Tensors) -> tuple[str, str]:
    one, other = (f"norm {t.norm:.9g}, hash {t.hash[:8]}" for t in (a, b))
    return one, other
