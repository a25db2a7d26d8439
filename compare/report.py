"""A comparison of two runs, written for people and for machines."""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING, Any

from tabulate import tabulate

from compare.tracefile import number

if TYPE_CHECKING:
    from compare.divergence import Comparison, Divergence

WIDTH = 88


def as_text(comparison: Comparison) -> str:
    """Write a comparison for people, in lines of at most 88 where values allow."""
    runs = comparison.pair
    blocks = [f"a: {runs.a.trace.source}\nb: {runs.b.trace.source}"]
    if comparison.divergence is None:
        evals = sum(map(min, map(len, runs.a.evals), map(len, runs.b.evals)))
        blocks.append(
            f"The runs are the same, bit for bit, in {len(runs)} steps and {evals}"
            " evaluation batches."
        )
    else:
        blocks += _divergence(comparison.divergence)
    if comparison.remarks:
        blocks.append("Remarks:\n" + "\n".join(map(_item, comparison.remarks)))
    return "\n\n".join(blocks)


def as_json(comparison: Comparison) -> str:
    """Write a comparison for machines."""
    found = comparison.divergence
    content: dict[str, Any] = {
        "same": found is None,
        "steps": len(comparison.pair),
        "remarks": comparison.remarks,
    }
    if found is not None:
        content |= {
            "step": found.step,
            "quantity": found.quantity,
            "differences": [
                vars(d) | {"size": None if d.size is None else number(d.size)}
                for d in found.differences
            ],
            "growth": [[step, number(size)] for step, size in found.growth],
            "causes": [
                {
                    key: getattr(cause, key)
                    for key in ("name", "title", "confirm", "see")
                }
                for cause in found.causes
            ],
        }
    return json.dumps(content, indent=2)


def _divergence(found: Divergence) -> list[str]:
    first = found.differences[0]
    rows = [
        [d.quantity, d.a, d.b, "" if d.size is None else f"{d.size:.2g}"]
        for d in found.differences
    ]
    table = tabulate(
        rows,
        ["at this step", "a", "b", "relative"],
        disable_numparse=True,
        maxcolwidths=[16, 27, 27, 9],
    )
    blocks = [
        f"The runs differ first at step {found.step} (counted from 0),"
        f" in the {first.quantity}{f': {first.note}' if first.note else ''}.",
        table,
    ]
    if first.names:
        names = ", ".join(first.names[:4]) + (" ..." if len(first.names) > 4 else "")
        blocks.append(f"Parameters concerned ({len(first.names)}): {names}")
    if found.growth:
        sizes = ", ".join(f"{size:.1g} at step {step}" for step, size in found.growth)
        blocks.append(
            textwrap.fill(
                f"The relative difference of the loss {trend(found.growth)}: {sizes}.",
                WIDTH,
            )
        )
    blocks.append("Likely causes, most likely first:")
    for i, cause in enumerate(found.causes, start=1):
        lines = cause.title, f"Confirm: {cause.confirm}", f"See: {cause.see}"
        blocks.append(
            "\n".join(
                _indent(line, f"{i}. " if not n else "") for n, line in enumerate(lines)
            )
        )
    return blocks


def trend(growth: list[tuple[int, float]]) -> str:
    """Say in a word or two where a difference goes over the later steps."""
    sizes = [size for _, size in growth]
    started = next((size for size in sizes if size), 0.0)
    if started == 0.0:
        return "does not show"
    if sizes[-1] == 0.0:
        return "vanishes"
    if sizes[-1] > 10 * started:
        return "grows"
    return "shrinks" if sizes[-1] < started / 10 else "stays about as large"


def _item(remark: str) -> str:
    return textwrap.fill(f"- {remark}", WIDTH, subsequent_indent="  ")


def _indent(line: str, number: str) -> str:
    return textwrap.fill(
        line, WIDTH, initial_indent=f"{number:3}", subsequent_indent="   "
    )
