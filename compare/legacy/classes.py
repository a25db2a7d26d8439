"""Find the classes that are Lightning's although their bases do not say so."""

import ast
from collections.abc import Iterator, Sequence
from difflib import get_close_matches

from compare.legacy.rules import HOOKS, MISTAKEN, RULES

Function = ast.FunctionDef | ast.AsyncFunctionDef
# Whose classes have no hooks, whatever their methods are called; of Lightning's own
# those are meant that are neither modules nor callbacks.
OTHERS = {
    "abc",
    "fastai",
    "keras",
    "pl",
    "sklearn",
    "tensorflow",
    "torch",
    "transformers",
}
# Enough of one to tell a LightningModule.
TELLING = {"training_step", "validation_step", "test_step", "configure_optimizers"}
# How much alike a method's name and a hook's are if one is the other misspelt.
CUTOFF = 0.9
HOOK_NAMES = {
    *MISTAKEN,
    *HOOKS["LightningModule"],
    *HOOKS["Callback"],
    *(old.split(".")[1] for old in RULES["hook"]),
}


def own_functions(body: Sequence[ast.stmt]) -> Iterator[Function]:
    """Yield the functions of a body; a repaired excerpt has some below an `if`."""
    for node in body:
        if isinstance(node, Function):
            yield node
        elif isinstance(node, ast.If):
            yield from own_functions([*node.body, *node.orelse])


def parameters(method: Function) -> list[str]:
    """Return the names of what a method is given by position."""
    return [arg.arg for arg in [*method.args.posonlyargs, *method.args.args]]


def is_callback(methods: Sequence[Function]) -> bool:
    """Return whether methods are those of a Callback, by what they are given."""
    return any("pl_module" in parameters(method) for method in methods)


def kind_by_methods(methods: Sequence[Function]) -> str | None:
    """Return the kind of a class that has these methods, by what tells it."""
    if is_callback(methods):
        return "Callback"
    telling = TELLING & {method.name for method in methods}
    return "LightningModule" if telling else None


def is_foreign(paths: Sequence[str | None]) -> bool:
    """Return whether a class with these bases, or none, has surely no hooks."""
    roots = [path.split(".")[0] for path in paths if path]
    return not paths or any(root in OTHERS for root in roots)


def like_a_hook(name: str) -> bool:
    """Return whether a method is called like a hook, or nearly so."""
    return bool(get_close_matches(name, HOOK_NAMES, n=1, cutoff=CUTOFF))


def headless(body: Sequence[ast.stmt]) -> ast.ClassDef | None:
    """Return the class that methods in an excerpt come from, without a name."""
    methods = [node for node in own_functions(body) if parameters(node)[:1] == ["self"]]
    if not is_callback(methods) and not any(like_a_hook(m.name) for m in methods):
        return None
    return ast.ClassDef(
        name="", bases=[], keywords=[], body=[*methods], decorator_list=[]
    )


def targets(node: ast.stmt) -> list[ast.expr]:
    """Return what a statement assigns to."""
    match node:
        case ast.Assign(targets=several):
            return several
        case ast.AnnAssign(target=target) | ast.AugAssign(target=target):
            return [target]
    return []


def members(tree: ast.AST) -> set[str]:
    """Return what any class of a block defines, or sets on self."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            found |= {method.name for method in own_functions(node.body)}
            for child in node.body:
                found |= {t.id for t in targets(child) if isinstance(t, ast.Name)}
        elif (
            isinstance(node, ast.Attribute)
            and isinstance(node.ctx, ast.Store)
            and isinstance(node.value, ast.Name)
            and node.value.id == "self"
        ):
            found.add(node.attr)
    return found
