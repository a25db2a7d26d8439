"""Costs as text: tables for people, and for programs what JSON can hold."""

from itertools import zip_longest
from typing import Any

from tabulate import tabulate

from compare.cost.costs import Cost
from compare.cost.source import HALVES

HEADERS = ("by hand", "added", "borrowed", "in Lightning", "added", "borrowed")


def as_table(costs: dict[str, Cost], style: str = "simple") -> str:
    """Return a row of numbers for each lesson, and one of their sums."""
    rows = []
    for cost in costs.values():
        row = []
        for half in cost.halves.values():
            row += [half.statements, half.added, half.borrowed]
        rows.append([*row, *cost.fates().values()])
    names = [*costs, "all"]
    rows.append([sum(column) for column in zip(*rows, strict=True)])
    headers = ["", *HEADERS, "stay", "move", "go"]
    table = [[name, *row] for name, row in zip(names, rows, strict=True)]
    return tabulate(table, headers, tablefmt=style)


def as_tags(cost: Cost) -> str:
    """Return the lines of both halves that each tag stands on, side by side."""
    rows = []
    for tag, lines in cost.tags.items():
        columns = (
            [f"{number}: {text}" for number, text in lines[half].items()]
            for half in HALVES
        )
        for index, pair in enumerate(zip_longest(*columns, fillvalue="")):
            rows.append(("" if index else f"[{tag}]", *pair))
    return tabulate(rows, ["", *HALVES], disable_numparse=True)


def as_record(cost: Cost) -> dict[str, Any]:
    """Return all that is known of a lesson."""
    return {
        **{half: vars(counts) for half, counts in cost.halves.items()},
        **cost.fates(),
        "answers": [
            {
                "line": statement.line,
                "code": statement.text,
                "fate": fate,
                "answered_by": by
                and {"file": by.file, "line": by.line, "code": by.text},
            }
            for statement, fate, by in cost.answers
        ],
        "tags": {
            tag: {
                half: [{"line": number, "code": code} for number, code in found.items()]
                for half, found in halves.items()
            }
            for tag, halves in cost.tags.items()
        },
    }
