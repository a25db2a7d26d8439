"""A file of one half, as statements.

A statement is what Python's grammar calls one. The line of a `def`, `class`, `if`,
`for` or `with` counts as one, and each statement below it for itself; `else`, `except`
and `case` belong to what they are in. A docstring is none, nor is any other string that
stands alone. An import brings names in and computes nothing: imports are counted apart,
by name.
"""

import ast
import copy
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from compare.cost.tags import Lines, find_tags, first_line
from shared.errors import UserError

HALVES = ("plain_pytorch", "lightning")
NAMES_OF_A_HALF = re.compile(r"\b(Plain|Lit)(?=[A-Z])|\b(plain_pytorch|lightning)\b")
"""How the classes of a half begin, and its folder: in these, twins may differ."""


@dataclass(frozen=True)
class Statement:
    """One statement, without those below it.

    Attributes:
        file: its folder and name.
        line: where it begins, counted from 1.
        text: its code, in one style.
        key: what the same statement of the other half has, too: of a function or class
            its name, of any other its text, without the names of a half.
        place: the name of the function around it; empty outside of functions.
        in_method: whether it is inside of a function of a class.
        assigned: the names it assigns to.
        strings: those it gives to a call.
        uses: the names in it, of variables, functions and classes.
        tags: those in its comments, at the end of a line or right above it.
    """

    file: str
    line: int
    text: str
    key: str
    place: str
    in_method: bool
    assigned: frozenset[str]
    strings: frozenset[str]
    uses: frozenset[str]
    tags: frozenset[str]


@dataclass(frozen=True)
class Source:
    """One file.

    Attributes:
        statements: all, in their order.
        imports: by lesson, the names imported from it; of a lesson that is imported
            itself, those that are used as its attributes.
        defined: the statements behind each name that the file defines at its top level.
        tagged: for each tag, the lines that it stands on.
    """

    statements: list[Statement]
    imports: dict[str, list[str]]
    defined: dict[str, list[Statement]]
    tagged: Lines


def read_source(path: Path) -> Source:
    """Read a file of Python.

    Raises:
        UserError: it is not Python.
        OSError: it cannot be read.
    """
    content = path.read_bytes()
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError) as error:  # ValueError: a zero byte
        raise UserError(f"{path} is not Python: {error}") from error
    file = f"{path.parent.name}/{path.name}"
    tagged, of_node = find_tags(content, tree)
    statements = []
    for node, place, in_method in walk(tree):
        if not isinstance(node, ast.Import | ast.ImportFrom) and not is_string(node):
            tags = frozenset(of_node.get(node, ()))
            statements.append(to_statement(file, node, place, in_method, tags))
    defined: dict[str, list[Statement]] = defaultdict(list)
    for node in tree.body:
        lines = range(first_line(node), (node.end_lineno or 0) + 1)
        for name in names(node):
            defined[name] += [one for one in statements if one.line in lines]
    return Source(statements, find_imports(tree), dict(defined), tagged)


def walk(
    node: ast.AST, place: str = "", in_class: bool = False, in_method: bool = False
) -> Iterator[tuple[ast.stmt, str, bool]]:
    """Yield each statement below a node, with its `place` and `in_method`."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        place, in_class, in_method = node.name, False, in_method or in_class
    elif isinstance(node, ast.ClassDef):
        in_class = True
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt):
            yield child, place, in_method
        if isinstance(child, ast.stmt | ast.ExceptHandler | ast.match_case):
            yield from walk(child, place, in_class, in_method)


def find_imports(tree: ast.Module) -> dict[str, list[str]]:
    """Return the names that a file takes from each lesson."""
    imports: dict[str, list[str]] = defaultdict(list)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in HALVES:
            for alias in node.names:  # from lightning import train
                lesson = alias.asname or alias.name
                imports[f"{node.module}.{alias.name}"] += sorted(
                    {
                        part.attr
                        for part in ast.walk(tree)
                        if isinstance(part, ast.Attribute)
                        and isinstance(part.value, ast.Name)
                        and part.value.id == lesson
                    }
                )
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if module.startswith(tuple(f"{half}." for half in HALVES)):
                imports[module] += [alias.name for alias in node.names]
    return dict(imports)


def is_string(node: ast.stmt) -> bool:
    """Return whether a statement is a docstring, or another string on its own."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def to_statement(
    file: str, node: ast.stmt, place: str, in_method: bool, tags: frozenset[str]
) -> Statement:
    """Return a statement as what is compared of it."""
    alone = without_body(node)
    text = key = ast.unparse(alone)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        key = f"{type(node).__name__} {node.name}"
    return Statement(
        file=file,
        line=first_line(node),
        text=text,
        key=NAMES_OF_A_HALF.sub("", key),
        place=place,
        in_method=in_method,
        assigned=frozenset(names(node) - {"_"}),
        strings=frozenset(strings(alone)),
        uses=frozenset(one.id for one in ast.walk(alone) if isinstance(one, ast.Name)),
        tags=tags,
    )


def without_body(node: ast.stmt) -> ast.stmt:
    """Return a copy of a statement that has no others below it."""
    alone = copy.copy(node)
    for field in ("body", "orelse", "finalbody", "handlers", "cases"):
        if isinstance(getattr(node, field, None), list):
            setattr(alone, field, [])
    return alone


def names(node: ast.stmt) -> set[str]:
    """Return what a statement assigns to, as it is written; or the name it defines."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {node.name}
    targets = [*getattr(node, "targets", []), getattr(node, "target", None)]
    targets += [item.optional_vars for item in getattr(node, "items", [])]
    return {
        ast.unparse(part)
        for target in targets
        if target is not None
        for part in ast.walk(target)
        if isinstance(part, ast.Name | ast.Attribute | ast.Subscript)
        and isinstance(part.ctx, ast.Store)
    }


def strings(node: ast.stmt) -> set[str]:
    """Return the strings that a statement gives to a call, as they are."""
    calls = [part for part in ast.walk(node) if isinstance(part, ast.Call)]
    return {
        value.value
        for call in calls
        for value in (*call.args, *(keyword.value for keyword in call.keywords))
        if isinstance(value, ast.Constant) and isinstance(value.value, str)
    }
