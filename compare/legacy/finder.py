"""Finds what the table lists in a syntax tree; nothing of it is ever run."""

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from compare.legacy import classes, slips
from compare.legacy.classes import Function
from compare.legacy.names import Names, is_dict_call, kind_of
from compare.legacy.rules import HOOKS, RULES, Rule


@dataclass(frozen=True)
class Hit:
    """A rule that applies to a line of a block."""

    line: int
    rule: Rule
    details: tuple[str, ...] = ()


class Finder(ast.NodeVisitor):
    """Visits the blocks of one document in their order.

    Attributes:
        names: what is bound, in all blocks together, as in the cells of a notebook.
        members: what any class defines, or sets on self: no attribute of Lightning's.
        used: what is read or called as `x.name` anywhere.
        own_init: the classes that are called with arguments of their own.
        hits: what was found in the block that is being visited.
    """

    def __init__(self, trees: Sequence[ast.Module]) -> None:
        self.names = Names()
        self.members = set().union(*map(classes.members, trees))
        self.used = {part.attr for tree in trees for part in slips.attributes(tree)}
        self.own_init: set[str] = set()
        self.hits: list[Hit] = []

    def search(self, tree: ast.Module) -> list[Hit]:
        """Return what is found in a block, each once."""
        self.hits = []
        self.visit(tree)
        return list(dict.fromkeys(self.hits))

    def hit(self, node: ast.AST, kind: str, old: str) -> None:
        """Keep a hit if there is a rule."""
        if rule := RULES[kind].get(old):
            self.hits.append(Hit(getattr(node, "lineno", 1), rule))

    def slip(self, node: ast.AST, name: str, *details: str) -> None:
        """Keep a hit of one of the rules that have a function."""
        self.hits.append(Hit(getattr(node, "lineno", 1), RULES["slip"][name], details))

    # Scopes.
    def visit_Module(self, node: ast.Module) -> None:
        slips.check_order(node.body, self.slip)
        if excerpt := classes.headless(node.body):
            self.visit_ClassDef(excerpt)
        for child in node.body:
            self.visit(child)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for part in [*node.decorator_list, *node.bases]:
            self.visit(part)
        methods = list(classes.own_functions(node.body))
        paths = [self.names.path(base) for base in node.bases]
        base = next((path for path in paths if kind_of(path)), None)
        certain = base is not None
        if not certain and not (node.name and classes.is_foreign(paths)):
            by_methods = classes.kind_by_methods(methods)
            if not node.name:  # an excerpt with a hook
                by_methods = by_methods or "LightningModule"
            base = by_methods and f"pl.{by_methods}"
        if node.name:
            self.names.bound[node.name] = base or f"?.{node.name}"
            if any(method.name == "__init__" for method in methods):
                self.own_init.add(node.name)
        outer, self.names.bound = self.names.bound, dict(self.names.bound)
        self.names.bound["self"] = f"{base}()" if base else "?()"
        if kind := kind_of(base):
            self.check_class(node, kind, certain)
        for child in node.body:
            self.visit(child)
        self.names.bound = outer

    def check_class(self, node: ast.ClassDef, kind: str, certain: bool) -> None:
        """Check a class that is one of Lightning's, by its base or by its methods."""
        for method in classes.own_functions(node.body):
            self.check_hook(kind, method)
        for child in node.body:
            for target in classes.targets(child):
                if isinstance(target, ast.Name):
                    self.hit(child, "assignment", f"{kind}.{target.id}")
        if kind == "LightningModule":
            slips.check_module(node, certain, self.slip)
        if kind == "Callback":
            slips.check_callback(node, self.slip)
        if kind in HOOKS:
            slips.check_spelling(node, kind, certain, self.used, self.slip)

    def visit_FunctionDef(self, node: Function) -> None:
        outer, self.names.bound = self.names.bound, dict(self.names.bound)
        for decorator in node.decorator_list:
            self.visit(decorator)
        arguments = node.args
        for arg in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]:
            if arg.arg != "self":
                self.names.bound.pop(arg.arg, None)
            if kind_of(path := self.names.path(arg.annotation)):
                self.names.bound[arg.arg] = f"{path}()"
            elif arg.arg == "pl_module":
                self.names.bound[arg.arg] = "pl.LightningModule()"
            if arg.annotation:
                self.visit(arg.annotation)
        for default in [*arguments.defaults, *arguments.kw_defaults]:
            if default:
                self.visit(default)
        slips.check_order(node.body, self.slip)
        for child in node.body:
            self.visit(child)
        # What a method hangs on self, the next one may use.
        outer |= {
            k: v
            for k, v in self.names.bound.items()
            if k.startswith("self.") and "self" in outer
        }
        self.names.bound = outer

    visit_AsyncFunctionDef = visit_FunctionDef

    # Names.
    def visit_Import(self, node: ast.Import) -> None:
        self.imported(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        self.imported(node)

    def imported(self, node: ast.Import | ast.ImportFrom) -> None:
        """Bind what is imported, and report what is no more."""
        for path in self.names.bind_import(node):
            for old in name_rules(path):
                self.hit(node, "name", old)

    def visit_Assign(self, node: ast.Assign) -> None:
        self.generic_visit(node)
        for target in node.targets:
            self.names.bind(target, node.value)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.generic_visit(node)
        self.names.bind(node.target, node.value)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.generic_visit(node)
        owner = self.names.path(node.value)
        if not owner or owner.startswith("?"):
            # No other class has these.
            if node.attr.endswith("_argparse_args") and node.attr not in self.members:
                self.hit(node, "attribute", f"LightningDataModule.{node.attr}")
            return
        if isinstance(node.ctx, ast.Store):
            self.hit(node, "assignment", f"{class_name(owner)}.{node.attr}")
            return
        inherited = isinstance(node.value, ast.Call)
        if inherited or node.attr not in self.members:
            self.hit(node, "attribute", f"{class_name(owner)}.{node.attr}")
        if not any(name_rules(owner)):
            for old in name_rules(self.names.path(node) or ""):
                self.hit(node, "name", old)

    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)
        slips.check_call(node, self.slip)
        called = self.names.path(node.func)
        if not called or not called.startswith("pl."):
            return
        if isinstance(node.func, ast.Name) and node.func.id in self.own_init:
            return
        name = class_name(called).removesuffix(".__init__")
        for argument, value in self.names.arguments(node):
            self.hit(value, "argument", f"{name}.{argument}")
            for part in branches(value):
                self.hit(value, "value", f"{name}.{argument}={shown_value(part)}")
        if not node.args and not any(k.arg is None for k in node.keywords):
            given = {keyword.arg for keyword in node.keywords}
            for rule in RULES["missing"].values():
                owner, argument = rule.old.split(".")
                if owner == name and argument not in given:
                    self.hit(node, "missing", rule.old)

    # Hooks.
    def check_hook(self, kind: str, method: Function) -> None:
        """Report a hook that is called no more, or called otherwise."""
        name = method.name
        self.hit(method, "hook", f"{kind}.{name}")
        arguments = [*method.args.posonlyargs, *method.args.args]
        required = len(arguments) - len(method.args.defaults)
        for i, argument in enumerate(arguments):
            old = f"{kind}.{name}.{argument.arg}"
            self.hit(method, "parameter_named", old)
            if i < required:
                self.hit(method, "parameter", old)
        if not method.args.vararg:
            for rule in RULES["short"].values():
                hook, _, needed = rule.old.rpartition(".")
                if hook == f"{kind}.{name}" and len(arguments) - 1 < int(needed):
                    self.hit(method, "short", rule.old)


def class_name(path: str) -> str:
    """Return `Trainer.fit` for `pl.Trainer().fit`, and `Trainer` for `pl.x.Trainer`."""
    parts = path.replace("()", "").split(".")
    for i, part in enumerate(parts):
        if parts[0] == "pl" and re.match(r"[A-Z]", part):
            return ".".join(parts[i:])
    return path


def name_rules(path: str) -> Iterator[str]:
    """Yield what of the table a path goes through: the first there is."""
    parts = path.replace("()", "").split(".")
    if parts[0] != "pl" or len(parts) < 2:
        return
    prefixes = [".".join(parts[: i + 1]) for i in range(1, len(parts))]
    for old in [*prefixes, f"pl.{parts[1]}.{parts[-1]}"]:
        if old in RULES["name"]:
            yield old
            return


def branches(value: ast.expr) -> list[ast.expr]:
    """Return what a value may be: the two of `a if condition else b`."""
    return [value.body, value.orelse] if isinstance(value, ast.IfExp) else [value]


def shown_value(value: ast.expr) -> str:
    """Return a value as the table writes it."""
    if isinstance(value, ast.Constant):
        return repr(value.value)
    return "{}" if isinstance(value, ast.Dict) or is_dict_call(value) else ""
