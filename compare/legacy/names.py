"""Resolve the names in a piece of code, as far as they mean parts of Lightning."""

import ast
import re
from collections.abc import Iterator
from typing import TypeGuard

PACKAGES = ("lightning.pytorch", "pytorch_lightning")
# What is meant by names that nothing binds, as in the excerpts of a text.
UNBOUND = {
    "pl": "pl",
    "pytorch_lightning": "pl",
    "L": "lightning",
    "Trainer": "pl.Trainer",
    "LightningModule": "pl.LightningModule",
    "LightningDataModule": "pl.LightningDataModule",
    "ModelCheckpoint": "pl.callbacks.ModelCheckpoint",
    "EarlyStopping": "pl.callbacks.EarlyStopping",
    "trainer": "pl.Trainer()",
}
KINDS = {
    "Callback",
    "LightningCLI",
    "LightningDataModule",
    "LightningModule",
    "Trainer",
}


def canonical(path: str) -> str:
    """Return the path with `pl` for any of the names that Lightning has had.

    The package `lightning` has little beside `lightning.pytorch`: a folder of one's own
    may well be called so, as ours is.
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


class Names:
    """The names that are bound at one place of a document.

    A path such as `pl.callbacks.ModelCheckpoint` is a module, class or function;
    `pl.Trainer()` with its parentheses is an object of that class.

    Attributes:
        bound: the path of each name; of objects that hang on self, that of `self.name`.
        dicts: the literal dict that a name was last set to.
    """

    def __init__(self) -> None:
        self.bound: dict[str, str] = {}
        self.dicts: dict[str, ast.expr] = {}

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

    def bind_import(self, node: ast.Import | ast.ImportFrom) -> Iterator[str]:
        """Bind the names of an import; yields the path of everything it imports."""
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.split(".")[0]
                self.bound[alias.asname or top] = canonical(
                    alias.name if alias.asname else top
                )
                yield canonical(alias.name)
            return
        module = canonical("." * node.level + (node.module or ""))
        for alias in node.names:
            if alias.name == "*" and module != "pl":
                self.bound.setdefault("Trainer", f"{module}.Trainer")
            elif alias.name == "*":
                self.bound |= {
                    name: path for name, path in UNBOUND.items() if name in KINDS
                }
                self.bound["Callback"] = "pl.Callback"
            else:
                path = canonical(f"{module}.{alias.name}")
                self.bound[alias.asname or alias.name] = path
                yield path

    def bind(self, target: ast.expr, value: ast.expr | None) -> None:
        """Bind what an assignment sets."""
        path = self.path(value)
        match target:
            case ast.Name(id=name):
                self.bound.pop(name, None)
                self.dicts.pop(name, None)
                if path:
                    self.bound[name] = path
                if isinstance(value, ast.Dict | ast.Call):
                    self.dicts[name] = value
            case ast.Attribute(value=ast.Name(id="self"), attr=attr) if (
                path and path.startswith("pl.") and path.endswith("()")
            ):
                self.bound[f"self.{attr}"] = path

    def arguments(
        self, call: ast.Call, deep: bool = True
    ) -> Iterator[tuple[str, ast.expr]]:
        """Yield the keyword arguments of a call, those of a literal ** too."""
        for keyword in call.keywords:
            value = keyword.value
            if keyword.arg:
                yield keyword.arg, value
                continue
            if deep and isinstance(value, ast.Name):
                value = self.dicts.get(value.id, value)
            if isinstance(value, ast.Dict):
                for key, item in zip(value.keys, value.values, strict=True):
                    if isinstance(key, ast.Constant) and isinstance(key.value, str):
                        yield key.value, item
            elif is_dict_call(value):
                yield from self.arguments(value, deep=False)


def is_dict_call(node: ast.AST) -> TypeGuard[ast.Call]:
    """Return whether this is `dict(...)`."""
    match node:
        case ast.Call(func=ast.Name(id="dict")):
            return True
    return False
