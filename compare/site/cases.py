"""Run the cases of the clinic, and keep for the site what they show.

    python -m compare.site.cases

writes compare/results/clinic.json: of each case both loops, and what is printed.
"""

import ast
import inspect
import io
import json
import subprocess
import sys
import textwrap
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import Any

from compare.clinic import CASES
from compare.clinic.__main__ import main as show
from compare.clinic.case import Case
from compare.site.stale import CLINIC, clinic_digest


class Decided(ast.NodeTransformer):
    """Rewrites a case's function for one value of its argument, `mistake`."""

    def __init__(self, mistake: bool) -> None:
        self.mistake = mistake

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """Leave out the decorator, the argument and the docstring."""
        if [argument.arg for argument in node.args.args] == ["mistake"]:
            node.decorator_list, node.args.args = [], []
            node.name = "training"
            node.body = node.body[1:]
        self.generic_visit(node)
        return node

    def visit_Name(self, node: ast.Name) -> ast.AST:
        """Put the value for the argument."""
        return ast.Constant(self.mistake) if node.id == "mistake" else node

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        """Put `True` for `not False`."""
        self.generic_visit(node)
        is_not = isinstance(node.op, ast.Not) and isinstance(node.operand, ast.Constant)
        return ast.Constant(not node.operand.value) if is_not else node  # type: ignore[attr-defined]

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        """Leave `True` out of `and`, and `False` out of `or`, or put the other."""
        self.generic_visit(node)
        neutral = isinstance(node.op, ast.And)
        fixed = [one.value for one in node.values if isinstance(one, ast.Constant)]
        if (not neutral) in fixed:
            return ast.Constant(not neutral)
        rest = [one for one in node.values if not isinstance(one, ast.Constant)]
        return rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        """Put the value that is taken."""
        self.generic_visit(node)
        if not isinstance(node.test, ast.Constant):
            return node
        return node.body if node.test.value else node.orelse

    def visit_If(self, node: ast.If) -> Any:
        """Put the lines that are run."""
        self.generic_visit(node)
        if not isinstance(node.test, ast.Constant):
            return node
        return node.body if node.test.value else node.orelse

    def visit_For(self, node: ast.For) -> ast.AST | None:
        """Leave out a loop that has nothing to do."""
        self.generic_visit(node)
        return node if node.body else None


def formatted(code: str) -> str:
    """Return Python as ruff formats it, in short lines."""
    command = [sys.executable, "-m", "ruff", "format", "--line-length", "72", "-"]
    process = subprocess.run(
        command, input=code, stdout=subprocess.PIPE, text=True, check=True
    )
    return process.stdout


def loop(train: Callable[..., None], mistake: bool) -> str:
    """Return the code of a case, with the mistake or without it."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(train)))
    new = ast.fix_missing_locations(Decided(mistake).visit(tree))
    return formatted(ast.unparse(new))


def helpers(case: Case) -> str:
    """Return the code of what a case calls, of the clinic's own."""
    names = {
        node.id
        for node in ast.walk(ast.parse(inspect.getsource(case.train)))
        if isinstance(node, ast.Name)
    }
    things = vars(sys.modules[case.train.__module__])
    found = [
        inspect.getsource(things[name])
        for name in sorted(names & things.keys())
        if inspect.isroutine(things[name]) or inspect.isclass(things[name])
        if things[name].__module__.startswith("compare.clinic.")
        if name != "case"
    ]
    if case.healthy.__name__ != "<lambda>":
        found.append(inspect.getsource(case.healthy))
    return "\n\n".join(dict.fromkeys(found))


def printed(case: Case) -> str:
    """Return what the clinic prints about the first difference, and why."""
    output = io.StringIO()
    with redirect_stdout(output):
        show([case.name])
    text = output.getvalue().split("\nThe mend:")[0]
    heading = case.title + "\n" + (case.thread + "\n" if case.thread else "")
    return text.removeprefix(heading).strip()


def describe(case: Case) -> dict[str, str]:
    """Return what the site shows of a case."""
    return {
        "title": case.title,
        "quantity": case.quantity,
        "mend": case.mend,
        "thread": case.thread,
        "healthy": loop(case.train, mistake=False),
        "sick": loop(case.train, mistake=True),
        "helpers": helpers(case),
        "printed": printed(case),
    }


def main() -> None:
    """Renew the file."""
    cases = {}
    for name, case in CASES.items():
        print(name, flush=True)
        cases[name] = describe(case)
    text = json.dumps({"digest": clinic_digest(), "cases": cases}, indent=1)
    CLINIC.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
