"""Read what a class is, and what its methods are given and return."""

import ast
import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches

from compare.legacy.rules import HOOKS, MISTAKEN, RULES

Function = ast.FunctionDef | ast.AsyncFunctionDef
# Whose classes have no hooks, whatever their methods are called; of Lightning's own
# those are meant that are neither modules nor callbacks.
OTHERS = {"abc", "fastai", "keras", "pl", "sklearn", "tensorflow", "torch"}
OTHERS |= {"transformers"}
# Methods by which a LightningModule is known: one is enough.
TELLING_METHODS = {"training_step", "validation_step", "test_step"}
TELLING_METHODS |= {"configure_optimizers"}
# How much alike a method's name and a hook's are if one is the other misspelt.
CUTOFF = 0.9
HOOK_NAMES = {*MISTAKEN, *HOOKS["LightningModule"], *HOOKS["Callback"]}
HOOK_NAMES |= {old.split(".")[1] for old in RULES["hook"]}
# A condition that asks for a version, or whether there is something.
GUARD = re.compile(
    r"version|hasattr\(|signature\(|_GREATER|_LESS_|LIGHTNING_\w*\d|\bPL_?\w*\d", re.I
)


def is_guarded(node: ast.AST) -> bool:
    """Return whether code runs only with some versions."""
    match node:
        case ast.If(test=test) | ast.IfExp(test=test):
            return bool(GUARD.search(ast.unparse(test)))
        case ast.Try(handlers=handlers):
            caught = " ".join(ast.unparse(h.type) for h in handlers if h.type)
            return bool(re.search("Import|ModuleNotFound|Attribute|TypeE", caught))
    return False


def own_functions(body: Sequence[ast.stmt]) -> list[Function]:
    """Return the functions of a body."""
    return [node for node in body if isinstance(node, Function)]


def parameters(method: Function) -> list[str]:
    """Return the names of what a method is given by position."""
    return [arg.arg for arg in [*method.args.posonlyargs, *method.args.args]]


def kind_by_methods(methods: Sequence[Function]) -> str | None:
    """Return the kind of a class that has these methods, by what tells it."""
    if any("pl_module" in parameters(method) for method in methods):
        return "Callback"
    telling = TELLING_METHODS & {method.name for method in methods}
    return "LightningModule" if telling else None


def is_foreign(paths: Sequence[str | None]) -> bool:
    """Return whether a class with these bases, or none, has surely no hooks."""
    roots = [path.split(".")[0] for path in paths if path]
    return not paths or any(root in OTHERS for root in roots)


def headless(body: Sequence[ast.stmt]) -> ast.ClassDef | None:
    """Return the class that methods in an excerpt come from, without a name."""
    methods = [node for node in own_functions(body) if parameters(node)[:1] == ["self"]]
    if kind_by_methods(methods) or any(
        get_close_matches(method.name, HOOK_NAMES, n=1, cutoff=CUTOFF)
        for method in methods
    ):
        return ast.ClassDef("", [], [], [*methods], [])
    return None


def targets(node: ast.stmt) -> list[ast.expr]:
    """Return what a statement assigns to."""
    match node:
        case ast.Assign(targets=several):
            return several
        case ast.AnnAssign(target=target) | ast.AugAssign(target=target):
            return [target]
    return []


def members(tree: ast.AST) -> set[str]:
    """Return what any class of a block defines, and what is set on any object."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(node.attr)
        elif isinstance(node, ast.ClassDef):
            found |= {method.name for method in own_functions(node.body)}
            for child in node.body:
                found |= {t.id for t in targets(child) if isinstance(t, ast.Name)}
    return found


def values(node: ast.expr, function: Function) -> list[ast.expr]:
    """Return what an expression, or a name that the function sets, stands for."""
    if not isinstance(node, ast.Name):
        return [node]
    return [
        part.value
        for part in ast.walk(function)
        if isinstance(part, ast.Assign)
        if node.id in [t.id for t in part.targets if isinstance(t, ast.Name)]
    ]


def returned(function: Function) -> Iterator[tuple[ast.Return, ast.expr]]:
    """Yield what a function returns, each with the statement that does."""
    for part in ast.walk(function):
        if isinstance(part, ast.Return) and part.value is not None:
            for value in values(part.value, function):
                yield part, value


def keys(node: ast.AST) -> dict[str, ast.AST]:
    """Return the keys of a literal dict that are strings, also inside a call."""
    match node:
        case ast.Dict():
            return {
                key.value: key
                for key in node.keys
                if isinstance(key, ast.Constant) and isinstance(key.value, str)
            }
        case ast.Call(func=ast.Name(id="dict" | "OrderedDict"), args=args):
            found: dict[str, ast.AST] = {k.arg: k for k in node.keywords if k.arg}
            return found | (keys(args[0]) if args else {})
    return {}
