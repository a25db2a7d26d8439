"""Resolve the names in a piece of code, as far as they mean parts of Lightning."""

import ast
import re
from collections.abc import Iterator, Sequence

from compare.legacy.classes import (
    Function,
    is_foreign,
    is_guarded,
    kind_by_methods,
    own_functions,
)
from compare.legacy.rules import RULES

PACKAGES = {
    "lightning.pytorch": "pl",
    "pytorch_lightning": "pl",
    "lightning_lite": "pl.lite",
}
KINDS = {"Callback", "LightningCLI", "LightningDataModule", "LightningModule"}
KINDS |= {"Trainer"}
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
TELLING_NAMES = {
    old.split(".")[-1]: old
    for old in RULES["name"]
    if re.search(r"\.[A-Z]\w+(Plugin|Result|Monitor|Logger|LoggerBase|Strategy)$", old)
}
DICTS = {"dict", "OrderedDict", "Namespace", "SimpleNamespace", "vars", "EasyDict"}
PART_STEP = r"\.\w+\.(training|validation|test)_step$"
MAX_OPTIONS = 200
Option = tuple[str, ast.expr, ast.AST]


def canonical(path: str) -> str:
    """Return the path with `pl` for any of the names that Lightning has had.

    The package `lightning` has little beside `lightning.pytorch`: a folder of one's own
    may well be called so.
    """
    for package, short in PACKAGES.items():
        if path == package or path.startswith(package + "."):
            return short + path.removeprefix(package)
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


class Names(ast.NodeVisitor):
    """Knows at each place of a document what the names mean that are bound there.

    It visits the blocks in their order, and what one binds, the next may use, as in the
    cells of a notebook. A path such as `pl.callbacks.ModelCheckpoint` is a module,
    class or function; `pl.Trainer()` with its parentheses is an object of that class.

    Attributes:
        bound: the path of each name; of objects that hang on self, that of `self.name`.
        lists: the literal list that a name was last set to.
        options: what the dict of a name holds: keys, values, and where each is written.
        own_init: the classes that are called with arguments of their own.
        function: the function around the place.
        guarded: in how many parts it is that only some versions run; what these set as
            options is not kept.
        branches: in how many `if` it is: what was set before may hold, too.
        flags: the names that say which version there is.
        has_parts: whether a step calls that of a part of the model, which then is no
            LightningModule.
    """

    def __init__(self, nodes: Sequence[ast.AST]) -> None:
        self.bound: dict[str, str] = {}
        self.lists: dict[str, ast.List] = {}
        self.options: dict[str, list[Option]] = {}
        self.own_init: set[str] = set()
        self.function: Function | None = None
        self.guarded = self.branches = 0
        self.flags = {
            ast.unparse(node.targets[0])
            for node in nodes
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Compare)
            if "__version__" in ast.unparse(node.value)
        }
        self.has_parts = any(
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and re.search(PART_STEP, ast.unparse(node.func))
            for node in nodes
        )

    # Scopes.
    def visit(self, node: ast.AST) -> None:
        branch = isinstance(node, ast.If)
        only_some = is_guarded(node)
        if isinstance(node, ast.If) and not only_some:
            names = {n.id for n in ast.walk(node.test) if isinstance(n, ast.Name)}
            only_some = bool(names & self.flags)
        self.guarded += only_some
        self.branches += branch
        super().visit(node)
        self.guarded -= only_some
        self.branches -= branch

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for part in [*node.decorator_list, *node.bases]:
            self.visit(part)
        base = self.base_of(node)
        if node.name:
            self.bound[node.name] = base or f"?.{node.name}"
        if "__init__" in [method.name for method in own_functions(node.body)]:
            self.own_init.add(node.name)
        outer, self.bound = self.bound, dict(self.bound)
        self.bound["self"] = f"{base}()" if base else "?()"
        for child in node.body:
            self.visit(child)
            if isinstance(child, ast.Assign) and isinstance(child.targets[0], ast.Name):
                held = self.literal(child.value)
                for owner in (node.name, "self"):
                    self.options[f"{owner}.{child.targets[0].id}"] = held
        self.bound = outer

    def base_of(self, node: ast.ClassDef) -> str | None:
        """Return the path of a class of Lightning's that a class is, if any."""
        paths = [self.path(base) for base in node.bases]
        if base := next((path for path in paths if kind_of(path)), None):
            return base
        kind = kind_by_methods(own_functions(node.body))
        if not node.name:  # an excerpt with a hook
            kind = kind or "LightningModule"
        elif self.has_parts or is_foreign(paths):
            return None
        return kind and f"pl.{kind}"

    def visit_FunctionDef(self, node: Function) -> None:
        outer, self.bound = self.bound, dict(self.bound)
        outside, self.function = self.function, node
        arguments = node.args
        several = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        for arg in several:
            if arg.arg != "self":
                self.bound.pop(arg.arg, None)
            if kind_of(path := self.path(arg.annotation)):
                self.bound[arg.arg] = f"{path}()"
            elif arg.arg == "pl_module":
                self.bound |= {"pl_module": "pl.LightningModule()"}
                self.bound |= {"trainer": "pl.Trainer()"}
        defaults = [*arguments.defaults, *arguments.kw_defaults]
        for arg, default in zip(several[::-1], defaults[::-1], strict=False):
            if options := self.literal(default):
                self.options[arg.arg] = options
        self.generic_visit(node)
        # What a method hangs on self, the next one may use.
        bound = self.bound.items() if "self" in outer else ()
        outer |= {name: path for name, path in bound if name.startswith("self.")}
        self.bound, self.function = outer, outside

    visit_AsyncFunctionDef = visit_FunctionDef

    # What is bound.
    def visit_Assign(self, node: ast.Assign) -> None:
        self.generic_visit(node)
        for target in node.targets:
            self.bind(target, node.value)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.generic_visit(node)
        self.bind(node.target, node.value)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self.generic_visit(node)
        if isinstance(node.op, ast.BitOr):
            self.keep(ast.unparse(node.target), self.literal(node.value))

    def bind_import(
        self, node: ast.Import | ast.ImportFrom
    ) -> Iterator[tuple[ast.alias | None, str]]:
        """Bind the names of an import; yields the path of everything it imports."""
        if isinstance(node, ast.Import):
            for alias in node.names:
                bound = alias.name if alias.asname else alias.name.split(".")[0]
                self.bound[alias.asname or bound] = canonical(bound)
                yield None, canonical(alias.name)
            return
        module = canonical("." * node.level + (node.module or ""))
        for alias in node.names:
            if alias.name != "*":
                path = canonical(f"{module}.{alias.name}")
                self.bound[alias.asname or alias.name] = path
                yield alias if len(node.names) > 1 else None, path
            elif module == "pl":
                self.bound |= {kind: f"pl.{kind}" for kind in KINDS}
            else:
                self.bound.setdefault("Trainer", f"{module}.Trainer")
                yield None, module

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
                if value:
                    self.keep(ast.unparse(owner), [(key, value, target)])
            case ast.Tuple(elts=several) if isinstance(value, ast.Tuple):
                for one, part in zip(several, value.elts, strict=False):
                    self.bind(one, part)
        if isinstance(target, ast.Name | ast.Attribute):
            held = self.literal(value)
            if not self.guarded and not self.branches:
                self.options.pop(ast.unparse(target), None)
            self.keep(ast.unparse(target), held)

    def keep(self, name: str, more: list[Option]) -> None:
        """Keep what is put into the dict of a name, and into the dicts inside."""
        if not self.guarded:
            held = [*self.options.get(name, []), *more]
            self.options[name] = held[:MAX_OPTIONS]
            for key, value, _ in more:
                if isinstance(value, ast.Dict | ast.Call):
                    inner = self.literal(value)
                    self.options[f"{name}[{key!r}]"] = inner[:MAX_OPTIONS]

    def update(self, call: ast.Call) -> None:
        """Keep what `update` or `setdefault` adds to a dict."""
        match call:
            case ast.Call(func=ast.Attribute(value=owner, attr="update")):
                more = [*self.arguments(call), *self.literal(*call.args[:1])]
                self.keep(ast.unparse(owner), more)
            case ast.Call(
                func=ast.Attribute(value=owner, attr="setdefault"),
                args=[ast.Constant(value=str(key)) as node, value],
            ):
                self.keep(ast.unparse(owner), [(key, value, node)])

    # What expressions mean.
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
            case ast.Call(func=func):
                made_by = r"(\(\))?\.(from_argparse_args|load_from_checkpoint)$"
                called = re.sub(made_by, "", self.path(func) or "")
                return called and f"{called}()"
        return None

    def literal(self, value: ast.expr | None = None) -> list[Option]:
        """Return what a dict holds, as far as that is written somewhere."""
        found: list[Option] = []
        match value:
            case ast.Name() | ast.Attribute() | ast.Subscript():
                return self.options.get(ast.unparse(value), [])
            case ast.Dict(keys=keys, values=values):
                for key, item in zip(keys, values, strict=True):
                    if key is None:
                        found += self.literal(item)
                    elif isinstance(key, ast.Constant) and isinstance(key.value, str):
                        found.append((key.value, item, key))
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if (
                name in DICTS
            ):
                found = [*self.literal(*value.args[:1]), *self.arguments(value)]
            case ast.Call(func=ast.Attribute(value=owner, attr="copy"), args=[]):
                return self.literal(owner)
            case ast.BinOp(left=one, op=ast.BitOr(), right=other):
                found = [*self.literal(one), *self.literal(other)]
            case ast.IfExp(body=one, orelse=other) if not is_guarded(value):
                found = [*self.literal(one), *self.literal(other)]
        return found

    def arguments(self, call: ast.Call) -> list[Option]:
        """Return the keyword arguments of a call, those of a ** too."""
        found: list[Option] = []
        for keyword in call.keywords:
            if keyword.arg:
                found.append((keyword.arg, keyword.value, keyword))
            else:
                found += self.literal(keyword.value)
        return found
