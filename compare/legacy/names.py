"""Resolve the names in a piece of code, as far as they mean parts of Lightning."""

import ast
import re
from collections.abc import Iterator
from itertools import islice

from compare.legacy.classes import is_guarded
from compare.legacy.rules import RULES

PACKAGES = ("lightning.pytorch", "pytorch_lightning")
KINDS = {
    "Callback",
    "LightningCLI",
    "LightningDataModule",
    "LightningModule",
    "Trainer",
}
# What is meant by names that nothing binds, as in the excerpts of a text.
UNBOUND = {
    "pl": "pl",
    "pytorch_lightning": "pl",
    "L": "lightning",
    "ModelCheckpoint": "pl.callbacks.ModelCheckpoint",
    "EarlyStopping": "pl.callbacks.EarlyStopping",
    "BaseFinetuning": "pl.callbacks.BaseFinetuning",
    "trainer": "pl.Trainer()",
    **{kind: f"pl.{kind}" for kind in sorted(KINDS - {"Callback"})},
}
# Names that only Lightning had.
TELLING = {
    old.split(".")[-1]: old
    for old in RULES["name"]
    if re.search(r"\.[A-Z]\w+(Plugin|Result|Monitor|Logger|LoggerBase|Strategy)$", old)
}
DICTS = {"dict", "OrderedDict", "Namespace", "SimpleNamespace", "vars", "EasyDict"}
MAX_DEPTH, MAX_OPTIONS = 10, 200
Option = tuple[str, ast.expr, ast.AST]


def canonical(path: str) -> str:
    """Return the path with `pl` for any of the names that Lightning has had.

    The package `lightning` has little beside `lightning.pytorch`: a folder of one's own
    may well be called so.
    """
    for package in PACKAGES:
        if path == package or path.startswith(package + "."):
            return "pl" + path.removeprefix(package)
    package, _, name = path.partition(".")
    return f"pl.{name}" if package == "lightning" and name in KINDS else path


def kind_of(path: str | None) -> str | None:
    """Return which of Lightning's classes the class at this path is, if any."""
    if not path or not path.startswith("pl."):
        return None
    last = path.split(".")[-1]
    if last in KINDS:
        return last
    return "Callback" if path.startswith("pl.callbacks.") else None


def class_name(path: str) -> str:
    """Return `Trainer.fit` for `pl.Trainer().fit`, and `Trainer` for `pl.x.Trainer`."""
    parts = path.replace("()", "").split(".")
    for i, part in enumerate(parts):
        if parts[0] == "pl" and re.match(r"[A-Z]", part):
            return ".".join(parts[i:])
    return path


class Names:
    """The names that are bound at one place of a document.

    A path such as `pl.callbacks.ModelCheckpoint` is a module, class or function;
    `pl.Trainer()` with its parentheses is an object of that class.

    Attributes:
        lists: the literal list that a name was last set to.
        bound: the path of each name; of objects that hang on self, that of `self.name`.
        options: what the dict of a name holds: keys, values, and where each is written.
        guarded: whether only some versions run the code: its options are not kept.
        branches: how many `if` are around it: what was set before may hold, too.
    """

    def __init__(self) -> None:
        self.bound: dict[str, str] = {}
        self.options: dict[str, list[Option]] = {}
        self.lists: dict[str, ast.List] = {}
        self.guarded, self.branches = False, 0
        self.depth = 0

    def path(self, node: ast.AST | None) -> str | None:
        """Return what an expression stands for; None if that is not known."""
        match node:
            case ast.Name(id=name):
                return self.bound.get(name, UNBOUND.get(name))
            case ast.Attribute(value=ast.Name(id="self"), attr=attr) if (
                f"self.{attr}" in self.bound
            ):
                return self.bound[f"self.{attr}"]
            case ast.Attribute(value=value, attr=attr):
                owner = self.path(value)
                if owner is None:
                    return None
                if attr == "trainer" and re.fullmatch(r"pl\..*\(\)", owner):
                    return "pl.Trainer()"
                return canonical(f"{owner}.{attr}")
            case ast.Call(func=ast.Name(id="super")):
                return self.bound.get("self")
            case ast.Call(func=ast.Attribute(value=value, attr=attr)) if attr in (
                "from_argparse_args",
                "load_from_checkpoint",
            ) and (owner := self.path(value)):
                return owner.removesuffix("()") + "()"
            case ast.Call(func=func):
                called = self.path(func)
                return called and f"{called}()"
        return None

    def bind_import(
        self, node: ast.Import | ast.ImportFrom
    ) -> Iterator[tuple[ast.alias | None, str]]:
        """Bind the names of an import; yields the path of everything it imports."""
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.split(".")[0]
                self.bound[alias.asname or top] = canonical(
                    alias.name if alias.asname else top
                )
                yield None, canonical(alias.name)
            return
        module = canonical("." * node.level + (node.module or ""))
        for alias in node.names:
            if alias.name == "*" and module != "pl":
                self.bound.setdefault("Trainer", f"{module}.Trainer")
                yield None, module
            elif alias.name == "*":
                self.bound |= {kind: f"pl.{kind}" for kind in KINDS}
            else:
                path = canonical(f"{module}.{alias.name}")
                self.bound[alias.asname or alias.name] = path
                yield alias if len(node.names) > 1 else None, path

    def bind(self, target: ast.expr, value: ast.expr | None) -> None:
        """Bind what an assignment sets."""
        path = self.path(value)
        match target:
            case ast.Name(id=name):
                self.bound.pop(name, None)
                self.lists.pop(name, None)
                if path:
                    self.bound[name] = path
                if isinstance(value, ast.List):
                    self.lists[name] = value
            case ast.Attribute(value=ast.Name(id="self"), attr=attr) if (
                path and path.startswith("pl.") and path.endswith("()")
            ):
                self.bound[f"self.{attr}"] = path
            case ast.Subscript(value=owner, slice=ast.Constant(value=str(key))):
                if value and not self.guarded:
                    held = self.options.setdefault(ast.unparse(owner), [])
                    held.append((key, value, target))
            case ast.Tuple(elts=several) if isinstance(value, ast.Tuple):
                for one, part in zip(several, value.elts, strict=False):
                    self.bind(one, part)
        if isinstance(target, ast.Name | ast.Attribute) and not self.guarded:
            name = ast.unparse(target)
            other = self.options.get(name, []) if self.branches else []
            self.options[name] = [*other, *self.literal(value)][:MAX_OPTIONS]

    def update(self, call: ast.Call) -> None:
        """Keep what `update` or `setdefault` adds to a dict."""
        match call:
            case ast.Call(func=ast.Attribute(value=owner, attr="update")):
                more = [*self.arguments(call), *self.literal(*call.args[:1])]
            case ast.Call(
                func=ast.Attribute(value=owner, attr="setdefault"),
                args=[ast.Constant(value=str(key)) as node, value],
            ):
                more = [(key, value, node)]
            case _:
                return
        if more and not self.guarded:
            self.options.setdefault(ast.unparse(owner), []).extend(more[:MAX_OPTIONS])

    def literal(self, value: ast.expr | None = None) -> list[Option]:
        """Return what a dict holds, as far as that is written somewhere."""
        if self.depth > MAX_DEPTH:
            return []
        self.depth += 1
        try:
            return list(islice(self.items(value), MAX_OPTIONS))
        finally:
            self.depth -= 1

    def items(self, value: ast.expr | None) -> Iterator[Option]:
        """Yield what `literal` returns, however much that is."""
        match value:
            case ast.Name() | ast.Attribute():
                yield from self.options.get(ast.unparse(value), [])
            case ast.Dict(keys=keys, values=values):
                for key, item in zip(keys, values, strict=True):
                    if key is None:
                        yield from self.literal(item)
                    elif isinstance(key, ast.Constant) and isinstance(key.value, str):
                        yield key.value, item, key
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if (
                name in DICTS
            ):
                yield from self.literal(*value.args[:1])
                yield from self.arguments(value)
            case ast.Call(func=ast.Attribute(value=owner, attr="copy"), args=[]):
                yield from self.literal(owner)
            case ast.BinOp(left=left, op=ast.BitOr(), right=right):
                yield from (*self.literal(left), *self.literal(right))
            case ast.IfExp(body=body, orelse=orelse) if not is_guarded(value):
                yield from (*self.literal(body), *self.literal(orelse))
            case ast.Subscript(value=owner, slice=ast.Constant(value=str(key))):
                held = self.options.get(ast.unparse(value), [])
                for name, item, _ in [*self.literal(owner)]:
                    held = [*held, *self.literal(item)] if name == key else held
                yield from held

    def arguments(self, call: ast.Call) -> Iterator[Option]:
        """Yield the keyword arguments of a call, those of a ** too."""
        for keyword in call.keywords:
            if keyword.arg:
                yield keyword.arg, keyword.value, keyword
            else:
                yield from self.literal(keyword.value)
