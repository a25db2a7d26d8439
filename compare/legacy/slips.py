"""Finds the mistakes that no list has, each with a function of its own."""

import ast
import re
from collections.abc import Callable, Iterable, Iterator
from difflib import get_close_matches

from compare.legacy.classes import CUTOFF, Function, own_functions, parameters
from compare.legacy.names import Names
from compare.legacy.rules import HOOKS, MISTAKEN, RULES

Slip = Callable[..., None]
STEPS = ("training_step", "validation_step", "test_step", "predict_step")
RETURNS = re.compile(r"(training|validation|test)_(step|end|epoch_end|step_end)")
OPTIMIZER = re.compile(
    r"(Adam\w*|SGD|RMSprop|Ada\w+|LBFGS|Lion|\w*Optimizer)$|\boptim\.[A-Z]"
)
REQUIRED = ("training_step", "configure_optimizers")
SKELETON = """\
def {step}(self, batch, batch_idx):
    ...
    self.{kept}.append(loss)  # in __init__: self.{kept} = []
    return loss

def {hook}(self):
    {outputs} = self.{kept}
    ...  # the body of {old}, without what it returned
    self.{kept}.clear()"""


def skeleton(method: Function) -> str:
    """Return what to write in place of an `*_epoch_end`, or ""."""
    stage = re.fullmatch(r"(training|validation|test)_epoch_end", method.name)
    if not stage:
        return ""
    hook = {"training": "train"}.get(stage[1], stage[1])
    return SKELETON.format(
        step=f"{stage[1]}_step",
        kept=f"{stage[1]}_step_outputs",
        hook=f"on_{hook}_epoch_end",
        outputs=[*parameters(method), "", "outputs"][1] or "outputs",
        old=method.name,
    )


def attributes(node: ast.AST) -> Iterator[ast.Attribute]:
    """Yield every `x.y` below a node."""
    return (part for part in ast.walk(node) if isinstance(part, ast.Attribute))


def of_self(node: ast.AST) -> set[str]:
    """Return every name below a node that is read or called as `self.name`."""
    return {
        part.attr
        for part in attributes(node)
        if isinstance(part.value, ast.Name) and part.value.id == "self"
    }


def values(node: ast.expr, function: Function) -> list[ast.expr]:
    """Return what an expression, or a name that the function sets, stands for."""
    if not isinstance(node, ast.Name):
        return [node]
    return [
        part.value
        for part in ast.walk(function)
        if isinstance(part, ast.Assign)
        if any(isinstance(t, ast.Name) and t.id == node.id for t in part.targets)
    ]


def returned(function: Function) -> Iterator[tuple[ast.Return, ast.expr]]:
    """Yield what a function returns, each with the statement that does."""
    for part in ast.walk(function):
        if isinstance(part, ast.Return) and part.value is not None:
            for value in values(part.value, function):
                yield part, value


def is_optimizer(node: ast.expr, function: Function) -> bool:
    """Return whether an expression is an optimizer, or a dict with one."""
    for value in values(node, function):
        if "optimizer" in keys(value):
            return True
        if isinstance(value, ast.Call):
            called = ast.unparse(value.func)
            return bool(OPTIMIZER.search(called)) and "lr_scheduler" not in called
    return bool(re.search(r"opt", ast.unparse(node))) and "sched" not in ast.unparse(
        node
    )


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
            found = {k.arg: k for k in node.keywords if k.arg}
            return found | (keys(args[0]) if args else {})
    return {}


def check_module(
    node: ast.ClassDef,
    family: list[ast.ClassDef],
    certain: bool,
    by_hand: bool,
    slip: Slip,
) -> None:
    """Check the methods of a LightningModule.

    Args:
        node: the class; its name is empty where its header is missing.
        family: it, and its bases in the same document.
        certain: whether all that it inherits is LightningModule's.
        by_hand: whether another excerpt says that it optimizes by hand.
        slip: is called with what is found.
    """
    methods = {method.name: method for method in own_functions(node.body)}
    for name, method in methods.items():
        if name in (*STEPS, "forward"):
            check_devices(method, slip)
        if RETURNS.fullmatch(name):
            check_returned(method, slip)
    if step := methods.get("optimizer_step"):
        check_closure(step, slip)
    text = "".join(map(ast.unparse, family))
    by_hand |= "automatic_optimization" in text or "manual_backward" in text
    if configure := methods.get("configure_optimizers"):
        several = certain or "training_step" in methods or not node.name
        check_optimizers(configure, several and not by_hand, slip)
    everything = {m.name: m for one in family[::-1] for m in own_functions(one.body)}
    old_end = {"validation_end", "validation_epoch_end"} & set(everything)
    if "validation_step" in methods and not old_end:
        check_validation(everything, certain or not node.name, slip)


def check_devices(method: Function, slip: Slip) -> None:
    """Report tensors that a step moves to a GPU."""
    for call in ast.walk(method):
        match call:
            case ast.Call(func=ast.Attribute(attr="cuda")):
                slip(call, "cuda_in_step", ".cuda()", method.name)
            case ast.Call(
                func=ast.Attribute(attr="to"), args=[ast.Constant(value=str(device))]
            ) if device.startswith("cuda"):
                slip(call, "cuda_in_step", f'.to("{device}")', method.name)


def check_returned(method: Function, slip: Slip) -> None:
    """Report what is returned to be logged."""
    names = set()
    for statement, value in returned(method):
        names.add(ast.unparse(statement.value or value))
        for key, place in keys(value).items():
            report_returned(key, place, method.name, slip)
    for part in ast.walk(method):
        match part:
            case ast.Subscript(
                value=owner, slice=ast.Constant(value=str(key)), ctx=ast.Store()
            ) if ast.unparse(owner) in names:
                report_returned(key, part, method.name, slip)
            case ast.Call(func=ast.Attribute(value=owner, attr="update")) if (
                ast.unparse(owner) in names
            ):
                for argument in part.args:
                    for key, place in keys(argument).items():
                        report_returned(key, place, method.name, slip)


def report_returned(key: str, place: ast.AST, method: str, slip: Slip) -> None:
    """Report one key."""
    if key in ("log", "progress_bar"):
        how = "..., prog_bar=True" if key == "progress_bar" else "..."
        slip(place, "returned_log", key, how, method)


def check_closure(method: Function, slip: Slip) -> None:
    """Report an `optimizer_step` that drops the closure, which computes the loss."""
    names = parameters(method)
    closures = [name for name in names if "closure" in name]
    read = {part.id for part in ast.walk(method) if isinstance(part, ast.Name)}
    if not closures or read & {*closures, "super"}:
        return
    for part in ast.walk(method):
        match part:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id=name), attr="step"),
                args=[],
                keywords=[],
            ) if name in names:
                slip(part, "dropped_closure", name, closures[0])


def check_optimizers(method: Function, several: bool, slip: Slip) -> None:
    """Report several optimizers without manual optimization."""
    for part in ast.walk(method):
        found = keys(part)
        if {"optimizer", "frequency"} <= set(found):
            slip(found["frequency"], "optimizer_frequency")
    for statement, value in returned(method) if several else ():
        if isinstance(value, ast.Tuple) and value.elts:
            inner = values(value.elts[0], method)
            if inner and isinstance(inner[0], ast.List):
                value = inner[0]
        if isinstance(value, ast.List | ast.Tuple):
            made = [item for item in value.elts if is_optimizer(item, method)]
            if len(made) > 1:
                slip(statement, "several_optimizers")


def has_loaders(nodes: Iterable[ast.ClassDef]) -> bool:
    """Return whether a class of the document gives several loaders to validate with."""
    for node in nodes:
        for method in own_functions(node.body):
            if re.fullmatch(r"(val|test|predict)_dataloader", method.name):
                made = [value for _, value in returned(method)]
                several = (ast.List, ast.Tuple, ast.ListComp, ast.Dict)
                if any(isinstance(value, several) for value in made):
                    return True
    return False


def check_validation(methods: dict[str, Function], certain: bool, slip: Slip) -> None:
    """Report a validation of which nothing is ever seen."""
    step = methods["validation_step"]
    if all(isinstance(part, ast.Expr | ast.Pass | ast.Raise) for part in step.body):
        return  # an outline
    todo = [name for name in methods if re.match(r"(on_)?validation_", name)]
    reached = set(todo)
    while todo:
        method = methods[todo.pop()]
        for part in attributes(method):
            if re.match(r"log|add_scalar|print", part.attr):
                return
            if part.attr in STEPS and ast.unparse(part.value) != "self":
                return  # that of another class
        used = of_self(method)
        calls = [part for part in ast.walk(method) if isinstance(part, ast.Call)]
        called = set().union(*(of_self(call.func) for call in calls))
        if not certain and called - set(methods):
            return  # it may log
        given = {ast.unparse(arg) for call in calls for arg in call.args}
        if "self" in given or any("Result" in ast.unparse(c.func) for c in calls):
            return  # others may log; an EvalResult is reported as such
        todo += [name for name in used & set(methods) if name not in reached]
        reached |= used & set(methods)
    slip(step, "validation_without_log")


def check_spelling(
    family: list[ast.ClassDef], kind: str, certain: bool, used: set[str], slip: Slip
) -> None:
    """Report methods that are nearly called like a hook, and that nothing calls."""
    inherited = {m.name for one in family for m in own_functions(one.body)}
    for method in own_functions(family[0].body):
        name = method.name
        known = name in HOOKS[kind] or f"{kind}.{name}" in RULES["hook"]
        if known or name in used or name.startswith("_"):
            continue
        similar = get_close_matches(name, HOOKS[kind], n=1, cutoff=CUTOFF)
        if kind == "LightningModule" and name in MISTAKEN:
            similar = [MISTAKEN[name]]
        if similar and similar[0] not in inherited:
            required = certain and similar[0] in REQUIRED
            rule = "required_hook" if required else "misspelt_hook"
            slip(method, rule, name, *similar)


def check_callback(node: ast.ClassDef, slip: Slip) -> None:
    """Report state that a Callback returns and nobody keeps."""
    for method in own_functions(node.body):
        if method.name == "on_save_checkpoint":
            for part, value in returned(method):
                if not isinstance(value, ast.Constant):
                    slip(part, "callback_returns_state")


def check_call(call: ast.Call, names: Names, slip: Slip) -> None:
    """Check the arguments of one call."""
    called = ast.unparse(call.func) if isinstance(call.func, ast.Attribute) else ""
    name = called.split(".")[-1] or getattr(call.func, "id", "")
    if called == "self.manual_backward" and len(call.args) > 1:
        slip(call, "manual_backward")
    if called == "self.log" and any(isinstance(arg, ast.Dict) for arg in call.args):
        slip(call, "log_of_dict")
    if not (OPTIMIZER.search(called or name) or name == "filter"):
        return
    for value in [*call.args, *(k.value for k in call.keywords if k.arg == "params")]:
        shown = ast.unparse(value)
        if re.fullmatch(r"[\w.]+\.parameters", shown):
            slip(value, "parameters_not_called", shown)
        if isinstance(value, ast.Name):
            value = names.lists.get(value.id, value)
        if name[0].isupper() and isinstance(value, ast.List) and value.elts:
            made = [getattr(part, "func", None) for part in value.elts]
            if all(getattr(func, "attr", "") == "parameters" for func in made):
                slip(value, "parameters_in_list")
