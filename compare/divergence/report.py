"""Say in words, or as plain values, where two runs part and why."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import Any

from .causes import CAUSES, likely
from .causes.cause import Finding
from .difference import Comparison, Difference
from .evidence import Evidence
from .remarks import remarks
from .size import Size, sizes, trend

_SHOWN = 3  # causes; what comes after them hardly ever was it


def findings(comparison: Comparison) -> list[Finding]:
    """Return the likely causes of the first difference, the most likely first."""
    if comparison.first is None:
        return []
    return likely(Evidence(comparison, comparison.first))[:_SHOWN]


def as_text(comparison: Comparison) -> str:
    """Return what `python -m compare.divergence` prints."""
    first = comparison.first
    a, b = comparison.a.name, comparison.b.name
    if first is None:
        steps = len(comparison.pairs)
        count = sum(len(one) for one, _ in comparison.evaluations.values())
        parts = [
            f"{a} and {b} are the same: {steps} steps, {count} evaluation batches."
        ]
    else:
        parts = [
            _fill(
                f"{a} and {b} first differ {_when(first)}{_whose(comparison, first)},"
                f" in the {_what(first)}."
            ),
            _table(
                ["", comparison.a.name, comparison.b.name],
                [first.quantity, first.a, first.b],
            ),
            *_rounding(comparison, first),
            *_later(comparison, first),
            _reasons(findings(comparison)),
        ]
    if said := remarks(comparison):
        parts.append("Remarks\n" + "\n".join(_fill(f"- {line}", "  ") for line in said))
    return "\n\n".join(parts)


def as_record(comparison: Comparison) -> dict[str, Any]:
    """Return the same as plain values that JSON can hold."""
    first = comparison.first
    record: dict[str, Any] = {"same": first is None, "steps": len(comparison.pairs)}
    if first:
        measured, found = sizes(comparison, first)
        record |= {
            "step": first.step,
            "quantity": first.quantity,
            "a": first.a,
            "b": first.b,
            "detail": first.detail,
            "measured": measured,
            "size": _finite(found[0].relative) if found else None,
            "last_size": _finite(found[-1].relative) if found else None,
            "trend": trend(found),
            "rounding": Evidence(comparison, first).is_rounding,
            "causes": [
                {
                    "name": finding.cause.name,
                    "what": finding.cause.what,
                    "because": finding.because,
                    "advice": finding.cause.advice,
                    "lesson": finding.cause.lesson,
                    "case": finding.cause.case,
                }
                for finding in findings(comparison)
            ],
        }
        training = comparison.in_training
        record["first_training_step"] = training.step if training else None
    return record | {"remarks": remarks(comparison)}


def _when(difference: Difference) -> str:
    if difference.quantity == "evaluation":
        after = f"after step {difference.step}"
        return after if difference.step >= 0 else "before the first step"
    return f"at step {difference.step}"


def _what(difference: Difference) -> str:
    detail = f" ({difference.detail})" if difference.detail else ""
    return difference.quantity + detail


def _whose(comparison: Comparison, difference: Difference) -> str:
    """Say whose step it is, and which of its own, if there are several optimizers."""
    evidence = Evidence(comparison, difference)
    if len(comparison.a.optimizers) < 2 or not evidence.in_a_step:
        return ""
    optimizer = evidence.optimizers[0]
    number = evidence.pair[0].optimizer
    return (
        f" (step {evidence.iteration} of optimizer {number}, the {optimizer.name} of"
        f" {optimizer.names[0]})"
    )


def _table(*rows: Sequence[str]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [*rows[:1], ["-" * width for width in widths], *rows[1:]]
    cells = (zip(line, widths, strict=True) for line in lines)
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in line).rstrip() for line in cells
    )


def _rounding(comparison: Comparison, first: Difference) -> list[str]:
    evidence = Evidence(comparison, first)
    if not evidence.is_rounding:
        return []
    size = f"{evidence.size:.1g}" if evidence.size else "no norm shows it"
    reasons = ", ".join(evidence.machine) or "nothing that was recorded"
    return [
        _fill(
            f"The difference has the size of the last bits ({size}), as rounding makes"
            " it, however large it becomes later. Not the same in both runs:"
            f" {reasons}."
        )
    ]


def causes_as_text() -> str:
    """Return all known causes as a table."""
    rows = [
        [c.name, ", ".join(sorted(c.seen_in)), c.lesson, c.case, c.what] for c in CAUSES
    ]
    return _table(["cause", "seen in", "lesson", "clinic", "what happened"], *rows)


def _later(comparison: Comparison, first: Difference) -> list[str]:
    """Say how large the difference is, what becomes of it, and what follows."""
    measured, found = sizes(comparison, first)
    lines = []
    if found and found[0].step == max(first.step, 0):
        shown = [found[0]]
        shown += [
            x for x in found[1:-1] if x.step - found[0].step in (1, 10, 100, 1000)
        ]
        shown += found[-1:] if len(found) > 1 else []
        words = ", ".join(f"{_percent(size)} at step {size.step}" for size in shown)
        ending = f": {trend(found)}." if trend(found) else "."
        lines.append(
            _fill(f"Relative size of the difference in {measured}: {words}{ending}")
        )
    training = comparison.in_training
    if first.quantity == "evaluation" and training:
        lines.append(
            f"Training first differs {_when(training)}, in the {_what(training)}."
        )
    elif first.quantity == "evaluation":
        lines.append("All training steps are the same.")
    return lines


def _reasons(found: list[Finding]) -> str:
    if not found:
        return "None of the known causes fits."
    lines = ["Likely causes, the most likely first"]
    for number, finding in enumerate(found, 1):
        cause = finding.cause
        lines.append(_fill(f"{number}. {cause.name}: {cause.what}", "   "))
        lines.append(_fill(f"   Evidence: {finding.because}.", "   "))
        lines.append(_fill(f"   What to do: {cause.advice}", "   "))
        where = f"the lesson {cause.lesson}, and {cause.case} of compare.clinic"
        lines.append(_fill(f"   See {where}.", "   "))
    return "\n".join(lines)


def _fill(text: str, indent: str = "") -> str:
    return textwrap.fill(text, 88, subsequent_indent=indent, break_on_hyphens=False)


def _percent(size: Size) -> str:
    return "less than can be seen" if size.relative == 0 else f"{size.relative:.2g}"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
