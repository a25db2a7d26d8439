"""Finds what the table lists in a syntax tree; nothing of it is ever run."""

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from compare.legacy import classes, slips
from compare.legacy.classes import Function
from compare.legacy.names import TELLING, Names, class_name, kind_of
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

# What hooks are given by name.
BY_NAME = {
    "setup": {"stage"},
    "teardown": {"stage"},
    "configure_gradient_clipping": {"gradient_clip_val", "gradient_clip_algorithm"},
}
IMPORT = "import"  # for --fix: from where the names are now
LIGHTNING_PATH = re.compile(r"\b(?:pytorch_lightning|lightning\.pytorch)(?:\.\w+)+")


@dataclass(frozen=True)
class Hit:
    """A rule that applies to a place of a document.

    Attributes:
        fix: what --fix writes there, if it can.
    """

    line: int
    column: int
    rule: Rule
    details: tuple[str, ...] = ()
    skeleton: str = ""
    fix: str | None = field(default=None, compare=False)


class Finder(ast.NodeVisitor):
    """Visits the blocks of one document in their order.

    Attributes:
        names: what is bound, in all blocks together, as in the cells of a notebook.
        members: what any class defines, or sets on self: no attribute of Lightning's.
        used: what is read or called as `x.name` anywhere.
        stored: what is set as `x.name` anywhere.
        classes: the classes that the document defines.
        flags: the names that say which version there is.
        own_init: the classes that are called with arguments of their own.
        forwards: the functions that hand their own ** on, and to what.
        hits: what was found in the block that is being visited.
        exact: whether that block is as it was written.
        guarded: how deep the visitor is in code that only some versions run.
    """

    def __init__(self, trees: Sequence[ast.Module]) -> None:
        self.names = Names()
        self.members = set().union(*map(classes.members, trees))
        nodes = [node for tree in trees for node in ast.walk(tree)]
        attributes = [node for node in nodes if isinstance(node, ast.Attribute)]
        self.used = {part.attr for part in attributes}
        self.stored = {x.attr for x in attributes if isinstance(x.ctx, ast.Store)}
        self.classes = {n.name: n for n in nodes if isinstance(n, ast.ClassDef)}
        # A part of a model whose steps the model calls is no LightningModule.
        self.has_parts = any(
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in ("training_step", "validation_step", "test_step")
            and isinstance(node.func.value, ast.Attribute)
            for node in nodes
        )
        self.flags = {
            ast.unparse(node.targets[0])
            for node in nodes
            if isinstance(node, ast.Assign) and is_version(node.value)
        }
        self.by_hand = bool({"automatic_optimization", "manual_backward"} & self.used)
        self.own_init: set[str] = set()
        self.forwards: dict[str, str] = {}
        self.function: Function | None = None
        self.hits: list[Hit] = []
        self.exact = True
        self.guarded = 0

    def search(self, tree: ast.Module, exact: bool) -> list[Hit]:
        """Return what is found in a block, each once."""
        self.hits, self.exact = [], exact
        self.visit(tree)
        return list(dict.fromkeys(self.hits))

    def hit(
        self, node: ast.AST, kind: str, old: str, *details: str, **more: str | None
    ) -> bool:
        """Keep a hit if there is a rule; returns whether there is."""
        rule = RULES[kind].get(old)
        if rule and not self.guarded:
            line, column = getattr(node, "lineno", 1), getattr(node, "col_offset", 1)
            rule = replace(rule, since=more.pop("since", "") or rule.since)
            self.hits.append(Hit(line, column, rule, details, **more))  # type: ignore
        return bool(rule)

    def slip(self, node: ast.AST, name: str, *details: str) -> None:
        """Keep a hit of one of the rules that have a function."""
        self.hit(node, "slip", name, *details)

    # Scopes.
    def visit(self, node: ast.AST) -> None:
        branch = isinstance(node, ast.If)
        names = ast.walk(node.test) if isinstance(node, ast.If) else []
        only_some = classes.is_guarded(node) or any(
            isinstance(name, ast.Name) and name.id in self.flags for name in names
        )
        for step in (1, -1):
            self.guarded += only_some * step
            self.names.guarded = self.guarded > 0
            self.names.branches += branch * step
            if step == 1:
                super().visit(node)

    def visit_Module(self, node: ast.Module) -> None:
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
            elif self.has_parts:
                by_methods = None
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
            if isinstance(child, ast.Assign) and isinstance(child.targets[0], ast.Name):
                for owner in (node.name, "self"):
                    name = f"{owner}.{child.targets[0].id}"
                    self.names.options[name] = self.names.literal(child.value)
        self.names.bound = outer

    def family(self, node: ast.ClassDef) -> list[ast.ClassDef]:
        """Return a class and those of its bases that the document defines."""
        found = [node]
        for one in found:
            for base in one.bases:
                inner = self.classes.get(ast.unparse(base).split(".")[-1])
                found += [inner] if inner and inner not in found else []
        return found

    def check_class(self, node: ast.ClassDef, kind: str, certain: bool) -> None:
        """Check a class that is one of Lightning's, by its base or by its methods."""
        family = self.family(node)
        for method in classes.own_functions(node.body):
            self.check_hook(kind, method, certain or not node.name)
        for child in node.body:
            for target in classes.targets(child):
                if isinstance(target, ast.Name):
                    self.hit(child, "assignment", f"{kind}.{target.id}")
        if kind == "LightningModule":
            by_hand = self.by_hand and not node.name
            slips.check_module(node, family, certain, by_hand, self.slip)
        if kind == "Callback":
            slips.check_callback(node, self.slip)
        if kind in HOOKS:
            slips.check_spelling(family, kind, certain, self.used, self.slip)

    def visit_FunctionDef(self, node: Function) -> None:
        outer, self.names.bound = self.names.bound, dict(self.names.bound)
        outside, self.function = self.function, node
        for decorator in node.decorator_list:
            self.visit(decorator)
        arguments = node.args
        several = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        defaults = [*arguments.defaults, *arguments.kw_defaults]
        for arg in several:
            if arg.arg != "self":
                self.names.bound.pop(arg.arg, None)
            if kind_of(path := self.names.path(arg.annotation)):
                self.names.bound[arg.arg] = f"{path}()"
            elif arg.arg == "pl_module":
                self.names.bound |= {"pl_module": "pl.LightningModule()"}
                self.names.bound |= {"trainer": "pl.Trainer()"}
            if arg.annotation:
                self.visit(arg.annotation)
        for arg, default in zip(several[::-1], defaults[::-1], strict=False):
            if default:
                self.visit(default)
                if options := self.names.literal(default):
                    self.names.options[arg.arg] = options
        for child in node.body:
            self.visit(child)
        # What a method hangs on self, the next one may use.
        outer |= {
            k: v
            for k, v in self.names.bound.items()
            if k.startswith("self.") and "self" in outer
        }
        self.names.bound, self.function = outer, outside

    visit_AsyncFunctionDef = visit_FunctionDef

    # Names.
    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> None:
        for alias, path in self.names.bind_import(node):
            self.check_path(node, path, alias)
        self.own_init -= {alias.asname or alias.name for alias in node.names}

    visit_ImportFrom = visit_Import

    def check_path(
        self, node: ast.AST, path: str, alias: ast.alias | None = None
    ) -> None:
        """Report what is no more on the way to a name: at the name, or the import."""
        if not path.startswith("pl."):
            return
        old = next(name_rules(path), None)
        gone = missing_part(path) if self.exact else ""
        moved = IMPORT if gone and home_of(path) else None
        fix = moved if isinstance(node, ast.ImportFrom) else None
        place = alias if alias and path in (old, gone) else node
        if old:
            self.hit(place, "name", old, fix=fix)
        elif gone:
            home = home_of(path)
            now = f"pytorch_lightning{home[2:]}" if home else "nothing of this name"
            found = f"pytorch_lightning{gone[2:]}"
            self.hit(place, "slip", "unknown_name", found, now, fix=fix)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str) and "lightning" in node.value:
            for path in LIGHTNING_PATH.findall(node.value):
                short = re.sub(r"^(pytorch_lightning|lightning\.pytorch)", "pl", path)
                self.hit(node, "attribute", class_name(short))
                for old in name_rules(short):
                    self.hit(node, "name", old)

    def visit_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):  # a docstring
            self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        if node.id in TELLING and node.id not in {*self.names.bound, *self.classes}:
            self.hit(node, "name", TELLING[node.id])

    def visit_Assign(self, node: ast.Assign) -> None:
        self.generic_visit(node)
        for target in node.targets:
            if isinstance(target, ast.Attribute):
                self.check_stored(target, node.value)
            self.names.bind(target, node.value)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.generic_visit(node)
        self.names.bind(node.target, node.value)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self.generic_visit(node)
        if isinstance(node.op, ast.BitOr) and (more := self.names.literal(node.value)):
            self.names.options.setdefault(ast.unparse(node.target), []).extend(more)

    def check_stored(self, node: ast.Attribute, value: ast.expr) -> None:
        """Report attributes of Lightning's objects that are set in vain."""
        owner = self.names.path(node.value) or "?"
        name, attr = class_name(owner), node.attr
        given = ast.unparse(value) if isinstance(value, ast.Name) else "..."
        if not owner.startswith("pl.") or self.hit(
            node, "assignment", f"{name}.{attr}", given
        ):
            return
        if not self.certain(node.value) and name != "Trainer":
            return
        if attr in READ_ONLY.get(name, ()):
            own = {
                m.name
                for c in self.classes.values()
                for m in classes.own_functions(c.body)
            }
            if attr not in own:
                self.slip(node, "read_only", name, attr)
        elif name == "Trainer" and attr not in MEMBERS["Trainer"]:
            old = f"Trainer.{attr}"
            rule = RULES["argument"].get(old) or RULES["attribute"].get(old)
            if rule:
                self.slip(node, "set_in_vain", attr, rule.now)

    def certain(self, node: ast.expr) -> bool:
        """Return whether it was seen that this is an object of Lightning's."""
        match node:
            case ast.Name(id=name):
                return name in self.names.bound or name == "pl_module"
            case ast.Attribute(value=value, attr="trainer"):
                return self.certain(value)
            case ast.Call(func=func):
                return self.certain(func)
            case ast.Attribute(value=value):
                return self.certain(value)
        return False

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.generic_visit(node)
        if isinstance(node.ctx, ast.Store):
            return
        owner, attr = self.names.path(node.value), node.attr
        if not owner or not owner.startswith("pl"):
            of_self = isinstance(node.value, ast.Attribute) and (
                ast.unparse(node.value) == "self.trainer"
                and not {"trainer", attr} & (self.members | self.stored)
            )
            if of_self:
                self.hit(node, "attribute", f"Trainer.{attr}")
            # No other class has these.
            elif attr.endswith("_argparse_args") and attr not in self.members:
                self.hit(node, "attribute", f"LightningDataModule.{attr}")
            return
        name = class_name(owner)
        inherited = isinstance(node.value, ast.Call)
        if inherited or attr not in self.members | self.stored:
            gone = attr not in MEMBERS.get(name, {attr}) and not attr.startswith("__")
            if self.hit(node, "attribute", f"{name}.{attr}"):
                return
            if (
                gone
                and owner.endswith("()")
                and self.exact
                and self.certain(node.value)
            ):
                self.slip(node, "unknown_attribute", name, attr)
        if "()" not in owner and not any(name_rules(owner)) and not missing_part(owner):
            self.check_path(node, self.names.path(node) or "")

    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)
        slips.check_call(node, self.names, self.slip)
        self.names.update(node)
        called = self.names.path(node.func)
        positional = node.args
        match node.func:
            case ast.Name(id=name) if name in self.forwards:
                called, positional = self.forwards[name], []
            case ast.Name(id=name) if name in self.own_init:
                return
            case ast.Name(id="partial") | ast.Attribute(attr="partial") if node.args:
                called, positional = self.names.path(node.args[0]), []
            case ast.Attribute(attr="from_argparse_args", value=owner):
                called, positional = self.names.path(owner), []
        if not called or not called.startswith("pl."):
            return
        name = class_name(called).removesuffix(".__init__")
        self.note_forward(node, called)
        signature = SIGNATURES.get(name, "*args **").split()
        if name.rpartition(".")[2] in self.members:
            signature = ["*args", "**"]
        sure = self.exact and self.certain(node.func)
        for argument, value, place in self.names.arguments(node):
            unknown = sure and not {argument, "**"} & set(signature)
            self.check_argument(name, argument, value, place, unknown)
        given = len(positional)
        first = [part for part in signature if part not in ("*args", "**")]
        at_most = first.index("*") if "*" in first else len(first)
        spread = any(isinstance(arg, ast.Starred) for arg in positional)
        # A Trainer, and nothing else, gives them to its keywords in their order.
        free = "*args" in signature or spread or name == "Trainer"
        if given > at_most and sure and not free:
            self.slip(node, "positional_arguments", name, str(given), str(at_most))
        if not node.args and not any(k.arg is None for k in node.keywords):
            names = {keyword.arg for keyword in node.keywords}
            for rule in RULES["missing"].values():
                of, argument = rule.old.split(".")
                if of == name and argument not in names:
                    self.hit(node, "missing", rule.old)

    def note_forward(self, node: ast.Call, called: str) -> None:
        """Keep that the function around a call hands its own ** on."""
        function = self.function
        if function and function.args.kwarg and function.name != "__init__":
            spread = [ast.unparse(k.value) for k in node.keywords if not k.arg]
            if function.args.kwarg.arg in spread:
                self.forwards[function.name] = called

    def check_argument(
        self, name: str, argument: str, value: ast.expr, place: ast.AST, unknown: bool
    ) -> None:
        """Report an argument that is no more, or else its value."""
        argument_rule = f"{name}.{argument}"
        removed = argument_rule in RULES["argument"]
        for part in [value] if removed else branches(value):
            old = f"{argument_rule}={shown_value(part)}"
            if self.hit(place, "value", old, fix=fix_of(old, value, place)):
                return
        if removed:
            self.hit(
                place,
                "argument",
                argument_rule,
                fix=fix_of(argument_rule, value, place),
            )
        elif unknown:
            self.slip(place, "unknown_argument", name, argument)

    # Hooks.
    def check_hook(self, kind: str, method: Function, certain: bool) -> None:
        """Report a hook that is called no more, or called otherwise: once."""
        name, own = method.name, classes.parameters(method)
        hook = f"{kind}.{name}"
        if self.hit(method, "hook", hook, skeleton=slips.skeleton(method)):
            return
        for argument in own:
            if self.hit(method, "parameter", f"{hook}.{argument}"):
                return
        given = HOOKS.get(kind, {}).get(name)
        bound = {ast.unparse(decorator) for decorator in method.decorator_list}
        if given is None or bound & {"staticmethod", "classmethod"}:
            return
        if not certain and hook not in CHANGED:
            return
        always = [one for one in given.split() if one[-1] != "?"]
        at_most = 2 if "batch_idx?" in given else len(always)
        if "dataloader_idx" in own and slips.has_loaders(self.classes.values()):
            at_most = len(own)  # it is given that, too
        args = method.args
        few = len(own) - 1 < len(always) and not args.vararg
        many = len(own) - 1 - len(args.defaults) > at_most
        all_names = {*own, *(arg.arg for arg in args.kwonlyargs)}
        unnamed = BY_NAME.get(name, set()) - all_names and not args.kwarg
        if few or many or unnamed:
            shown = ", ".join(["self", *given.replace("?", "=0").split()])
            since = CHANGED.get(hook, "")
            self.hit(method, "slip", "hook_signature", name, shown, since=since)


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


def is_version(value: ast.expr) -> bool:
    """Return whether an expression asks for the version of something."""
    return isinstance(value, ast.Compare) and "__version__" in ast.unparse(value)


def branches(value: ast.expr) -> list[ast.expr]:
    """Return what a value may be: the two of `a if condition else b`."""
    return [value.body, value.orelse] if isinstance(value, ast.IfExp) else [value]


def shown_value(value: ast.expr) -> str:
    """Return a value as the table writes it."""
    match value:
        case ast.Constant(value=constant):
            return repr(constant)
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=constant)):
            return f"-{constant!r}"
        case ast.Compare() | ast.UnaryOp(op=ast.Not()):
            return "True"
        case ast.Dict():
            return "{}"
        case ast.Call(func=ast.Name(id="dict")):
            return "{}"
    return ""


def fix_of(old: str, value: ast.expr, place: ast.AST) -> str | None:
    """Return the arguments that --fix writes, with {0} for the value."""
    change, *kinds = FIXES.get(old, [""])
    kind = type(value.value if isinstance(value, ast.Constant) else value).__name__
    fits = not kinds or kind.lower() in kinds
    return change if old in FIXES and fits and isinstance(place, ast.keyword) else None
