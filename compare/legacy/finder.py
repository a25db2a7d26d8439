"""Find what the table lists in a syntax tree; nothing of it is ever run."""

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from compare.legacy import classes, slips
from compare.legacy.classes import Function
from compare.legacy.names import TELLING_NAMES, Names, class_name, kind_of
from compare.legacy.rules import (
    CHANGED,
    FIXES,
    HOOKS,
    MEMBERS,
    READ_ONLY,
    RULES,
    SIGNATURES,
    Rule,
    home_of,
    missing_part,
)

IMPORT = "import"  # for --fix: from where the names are now
LIGHTNING_PATH = re.compile(r"\b(?:pytorch_lightning|lightning\.pytorch)(?:\.\w+)+")
# Methods that only Lightning's classes had, and one that has them.
ONLY_THEIRS = {
    "add_argparse_args": "LightningDataModule",
    "from_argparse_args": "LightningDataModule",
    "load_from_metrics": "LightningModule",
}


@dataclass(frozen=True)
class Hit:
    """A rule that applies to a place of a document.

    Attributes:
        details: what the rule's texts show.
        since: a version, where the rule has none.
        fix: what --fix writes there, if it can.
    """

    line: int
    column: int
    rule: Rule
    details: tuple[str, ...] = ()
    since: str = ""
    skeleton: str = ""
    fix: str | None = field(default=None, compare=False)


class Finder(Names):
    """Reports what is old, block after block of one document.

    Attributes:
        members: what any class defines, or any object is given: not Lightning's.
        used: what is read or called as `x.name` anywhere.
        classes: the classes that the document defines.
        by_hand: whether it optimizes by hand somewhere.
        several_loaders: whether it gives several loaders to validate with.
        forwards: the functions that hand their own ** on, and to what.
        hits: what was found in the block that is being visited.
        exact: whether that block is as it was written.
    """

    def __init__(self, trees: Sequence[ast.Module]) -> None:
        nodes = [node for tree in trees for node in ast.walk(tree)]
        super().__init__(nodes)
        self.members = set().union(*map(classes.members, trees))
        self.used = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
        self.classes = {n.name: n for n in nodes if isinstance(n, ast.ClassDef)}
        self.by_hand = bool({"automatic_optimization", "manual_backward"} & self.used)
        self.several_loaders = slips.has_loaders(self.classes.values())
        self.forwards: dict[str, str] = {}
        self.hits: list[Hit] = []
        self.exact = True

    def search(self, tree: ast.Module, exact: bool) -> list[Hit]:
        """Return what is found in a block."""
        self.hits, self.exact = [], exact
        if excerpt := classes.headless(tree.body):
            self.visit(excerpt)
        self.visit(tree)
        return self.hits

    def hit(
        self, node: ast.AST, kind: str, old: str, *details: str, **more: str | None
    ) -> bool:
        """Keep a hit if there is a rule; returns whether there is."""
        rule = RULES[kind].get(old)
        if rule and not self.guarded:
            line, column = getattr(node, "lineno", 1), getattr(node, "col_offset", 1)
            self.hits.append(Hit(line, column, rule, details, **more))  # type: ignore[arg-type]
        return bool(rule)

    def report(self, found: slips.Slips, since: str = "") -> None:
        """Keep the hits that a function has found."""
        for node, rule, *details in found:
            self.hit(node, "slip", rule, *details, since=since)

    # Classes.
    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        if kind := kind_of(self.base_of(node)):
            self.check_class(node, kind)
        super().visit_ClassDef(node)

    def family(self, node: ast.ClassDef) -> list[ast.ClassDef]:
        """Return a class and those of its bases that the document defines."""
        found = [node]
        for one in found:
            for base in one.bases:
                inner = self.classes.get(ast.unparse(base).split(".")[-1])
                found += [inner] if inner and inner not in found else []
        return found

    def check_class(self, node: ast.ClassDef, kind: str) -> None:
        """Check a class that is one of Lightning's, by its base or by its methods."""
        family = self.family(node)
        certain = any(kind_of(self.path(base)) for base in node.bases)
        for method in classes.own_functions(node.body):
            self.check_hook(kind, method, certain or not node.name)
        for child in node.body:
            for target in classes.targets(child):
                if isinstance(target, ast.Name):
                    self.hit(child, "assignment", f"{kind}.{target.id}")
        if kind == "LightningModule":
            by_hand = self.by_hand and not node.name
            self.report(slips.check_module(family, certain, by_hand))
        if kind == "Callback":
            self.report(slips.check_callback(node))
        if kind in HOOKS:
            self.report(slips.check_spelling(family, kind, certain, self.used))

    def check_hook(self, kind: str, method: Function, certain: bool) -> None:
        """Report a hook that is called no more, or called otherwise: once."""
        hook = f"{kind}.{method.name}"
        if self.hit(method, "hook", hook, skeleton=slips.skeleton(method)):
            return
        for argument in classes.parameters(method):
            if self.hit(method, "parameter", f"{hook}.{argument}"):
                return
        found = slips.check_signature(kind, method, certain, self.several_loaders)
        self.report(found, CHANGED.get(hook, ""))

    # Names.
    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> None:
        for alias, path in self.bind_import(node):
            self.check_path(node, path, alias)
        self.own_init -= {alias.asname or alias.name for alias in node.names}

    visit_ImportFrom = visit_Import

    def check_path(
        self, node: ast.AST, path: str, alias: ast.alias | None = None
    ) -> None:
        """Report what is no more on the way to a name: at the name, or the import."""
        if not path.startswith("pl."):
            return
        old = name_rule(path)
        gone = missing_part(path) if self.exact else ""
        home = home_of(path) if gone else ""
        fix = IMPORT if home and isinstance(node, ast.ImportFrom) else None
        place = alias if alias and path in (old, gone) else node
        if old:
            self.hit(place, "name", old, fix=fix)
        elif gone:
            now = f"pytorch_lightning{home[2:]}" if home else "nothing of this name"
            found = f"pytorch_lightning{gone[2:]}"
            self.hit(place, "slip", "unknown_name", found, now, fix=fix)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str) and "lightning" in node.value:
            for path in LIGHTNING_PATH.findall(node.value):
                short = re.sub(r"^(pytorch_lightning|lightning\.pytorch)", "pl", path)
                self.hit(node, "attribute", class_name(short))
                self.hit(node, "name", name_rule(short))

    def visit_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):  # a docstring
            self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        if node.id in TELLING_NAMES and node.id not in {*self.bound, *self.classes}:
            self.hit(node, "name", TELLING_NAMES[node.id])

    def visit_Assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            if isinstance(target, ast.Attribute):
                self.check_stored(target, node.value)
        super().visit_Assign(node)

    def check_stored(self, node: ast.Attribute, value: ast.expr) -> None:
        """Report attributes of Lightning's objects that are set in vain."""
        owner = self.path(node.value) or "?"
        name, attr = class_name(owner), node.attr
        given = ast.unparse(value) if isinstance(value, ast.Name) else "..."
        if not owner.startswith("pl.") or self.hit(
            node, "assignment", f"{name}.{attr}", given
        ):
            return
        old = f"Trainer.{attr}"
        rule = RULES["argument"].get(old) or RULES["attribute"].get(old)
        if attr in READ_ONLY.get(name, ()):
            functions = [classes.own_functions(c.body) for c in self.classes.values()]
            own = {method.name for methods in functions for method in methods}
            if attr not in own and (self.certain(node.value) or name == "Trainer"):
                self.hit(node, "slip", "read_only", name, attr)
        elif name == "Trainer" and rule and attr not in MEMBERS["Trainer"]:
            self.hit(node, "slip", "set_in_vain", attr, rule.now)

    def certain(self, node: ast.expr) -> bool:
        """Return whether it was seen that this is an object of Lightning's."""
        match node:
            case ast.Name(id=name):
                return name in self.bound
            case ast.Call(func=inner) | ast.Attribute(value=inner):
                return self.certain(inner)
        return False

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.generic_visit(node)
        owner, attr = self.path(node.value) or "", node.attr
        if isinstance(node.ctx, ast.Store):
            return
        if not owner.startswith("pl"):
            if ast.unparse(node.value) == "self.trainer" and not (
                {"trainer", attr} & self.members
            ):
                self.hit(node, "attribute", f"Trainer.{attr}")
            elif attr in ONLY_THEIRS and attr not in self.members:
                self.hit(node, "attribute", f"{ONLY_THEIRS[attr]}.{attr}")
            return
        name = class_name(owner)
        if isinstance(node.value, ast.Call) or attr not in self.members:
            gone = attr not in MEMBERS.get(name, {attr}) and not attr.startswith("__")
            sure = owner.endswith("()") and self.exact and self.certain(node.value)
            if self.hit(node, "attribute", f"{name}.{attr}"):
                return
            if gone and sure:
                self.hit(node, "slip", "unknown_attribute", name, attr)
        if "()" not in owner and not name_rule(owner) and not missing_part(owner):
            self.check_path(node, self.path(node) or "")

    # Calls.
    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)
        self.report(slips.check_call(node, self.lists))
        self.update(node)
        path = self.path_of_called(node)
        if not path.startswith("pl."):
            return
        function = self.function
        if function and function.args.kwarg and function.name != "__init__":
            spread = [ast.unparse(k.value) for k in node.keywords if not k.arg]
            if function.args.kwarg.arg in spread:
                self.forwards[function.name] = path
        self.check_arguments(node, class_name(path).removesuffix(".__init__"))

    def path_of_called(self, node: ast.Call) -> str:
        """Return the path of what gets the arguments of a call, or ""."""
        match node.func:
            case ast.Name(id=name) if name in self.forwards:
                return self.forwards[name]
            case ast.Name(id=name) if name in self.own_init:
                return ""
            case ast.Name(id="partial") | ast.Attribute(attr="partial") if node.args:
                return self.path(node.args[0]) or ""
            case ast.Attribute(attr="from_argparse_args", value=owner):
                return self.path(owner) or ""
        return self.path(node.func) or ""

    def check_arguments(self, node: ast.Call, name: str) -> None:
        """Report what is wrong in the arguments of a class or method of Lightning's."""
        known = {*SIGNATURES.get(name, "**").split()}
        if name.rpartition(".")[2] in self.members:
            known = {"**"}  # a method of one's own
        sure = self.exact and self.certain(node.func)
        for argument, value, place in self.arguments(node):
            unknown = sure and not {argument, "**"} & known
            self.check_argument(f"{name}.{argument}", value, place, unknown)
            if name == "LightningCLI" and argument == "trainer_defaults":
                for option, default, there in self.literal(value):
                    self.check_argument(f"Trainer.{option}", default, there, False)
        given = {keyword.arg for keyword in node.keywords}
        if node.args or None in given:
            return  # it may be among them
        for old in RULES["missing"]:
            owner, argument = old.split(".")
            if owner == name and argument not in given:
                self.hit(node, "missing", old)

    def check_argument(
        self, old: str, value: ast.expr, place: ast.AST, unknown: bool
    ) -> None:
        """Report an argument that is no more, or else its value."""
        removed = old in RULES["argument"]
        either = [value]
        if isinstance(value, ast.IfExp) and not removed:
            either = [value.body, value.orelse]
        for one in either:
            with_value = f"{old}={shown_value(one)}"
            if self.hit(
                place, "value", with_value, fix=fix_of(with_value, value, place)
            ):
                return
        if removed:
            self.hit(place, "argument", old, fix=fix_of(old, value, place))
        elif unknown:
            self.hit(place, "slip", "unknown_argument", *old.rsplit(".", 1))


def name_rule(path: str) -> str:
    """Return the first part of a path that the table lists, or ""."""
    parts = path.replace("()", "").split(".")
    if parts[0] != "pl" or len(parts) < 2:
        return ""
    prefixes = [".".join(parts[: i + 1]) for i in range(1, len(parts))]
    ways = [*prefixes, f"pl.{parts[1]}.{parts[-1]}"]
    return next((old for old in ways if old in RULES["name"]), "")


def shown_value(value: ast.expr) -> str:
    """Return a value as the table writes it."""
    match value:
        case ast.Constant(value=constant):
            return repr(constant)
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=constant)):
            return f"-{constant!r}"
        case ast.Compare() | ast.UnaryOp(op=ast.Not()):
            return "True"
        case ast.Dict() | ast.Call(func=ast.Name(id="dict")):
            return "{}"
    return ""


def fix_of(old: str, value: ast.expr, place: ast.AST) -> str | None:
    """Return the arguments that --fix writes, with {0} for the value."""
    if old not in FIXES or not isinstance(place, ast.keyword):
        return None
    change, *kinds = FIXES[old]
    kind = type(value.value if isinstance(value, ast.Constant) else value).__name__
    return change if not kinds or kind.lower() in kinds else None
