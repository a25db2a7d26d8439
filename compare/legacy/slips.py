"""Finds the mistakes that no list has, each with a function of its own."""

import ast
import re
from collections.abc import Callable, Iterator, Sequence
from difflib import get_close_matches

from compare.legacy.classes import CUTOFF, Function, own_functions
from compare.legacy.names import is_dict_call
from compare.legacy.rules import HOOKS, MISTAKEN, RULES

Slip = Callable[..., None]
STEPS = ("training_step", "validation_step", "test_step", "predict_step")
RETURNS = re.compile(r"(training|validation|test)_(step|end|epoch_end|step_end)")
OPTIMIZER = re.compile(
    r"(Adam\w*|SGD|RMSprop|Ada\w+|LBFGS|Lion|\w*Optimizer)$|\boptim\.[A-Z]"
)
REQUIRED = ("training_step", "configure_optimizers")


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


def is_optimizer(node: ast.expr, function: Function) -> bool:
    """Return whether an expression is an optimizer that is made in the function."""
    if isinstance(node, ast.Name):
        return any(
            is_optimizer(part.value, function)
            for part in ast.walk(function)
            if isinstance(part, ast.Assign) and isinstance(part.value, ast.Call)
            if any(isinstance(t, ast.Name) and t.id == node.id for t in part.targets)
        )
    if isinstance(node, ast.Dict):
        return "optimizer" in keys(node)
    if not isinstance(node, ast.Call):
        return False
    called = ast.unparse(node.func)
    return bool(OPTIMIZER.search(called)) and "lr_scheduler" not in called


def keys(node: ast.AST) -> dict[str, ast.AST]:
    """Return the keys of a literal dict, or of `dict(...)`, that are strings."""
    if isinstance(node, ast.Dict):
        return {
            key.value: key
            for key in node.keys
            if isinstance(key, ast.Constant) and isinstance(key.value, str)
        }
    if is_dict_call(node):
        return {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}
    return {}


def check_module(node: ast.ClassDef, certain: bool, slip: Slip) -> None:
    """Check the methods of a LightningModule.

    Args:
        node: the class; its name is empty where its header is missing.
        certain: whether all that it inherits is LightningModule's.
        slip: is called with what is found.
    """
    methods = {method.name: method for method in own_functions(node.body)}
    for name, method in methods.items():
        if name in (*STEPS, "forward"):
            check_devices(method, slip)
        if RETURNS.fullmatch(name):
            check_returned(method, slip)
    check_optimizers(node, methods, certain, slip)
    if "validation_step" in methods:
        check_validation(methods, certain or not node.name, slip)


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
    given_to_log = {
        id(part)
        for call in ast.walk(method)
        if isinstance(call, ast.Call)
        and getattr(call.func, "attr", "").startswith("log")
        for part in ast.walk(call)
    }
    for node in ast.walk(method):
        if id(node) in given_to_log:
            continue
        found = dict(keys(node))
        match node:
            case ast.Subscript(slice=ast.Constant(value=str(key)), ctx=ast.Store()):
                found[key] = node
        for key in ("log", "progress_bar"):
            if key in found:
                how = "..., prog_bar=True" if key == "progress_bar" else "..."
                slip(found[key], "returned_log", key, how, method.name)


def check_optimizers(
    node: ast.ClassDef, methods: dict[str, Function], certain: bool, slip: Slip
) -> None:
    """Report several optimizers without manual optimization."""
    method = methods.get("configure_optimizers")
    if method is None:
        return
    for part in ast.walk(method):
        found = keys(part)
        if {"optimizer", "frequency"} <= set(found):
            slip(found["frequency"], "optimizer_frequency")
    said = "automatic_optimization" in ast.unparse(node) or "manual_backward" in {
        part.attr for part in attributes(node)
    }
    if said or not (certain or "training_step" in methods):
        return
    for part in ast.walk(method):
        if not isinstance(part, ast.Return) or part.value is None:
            continue
        value = part.value
        if isinstance(value, ast.Tuple) and isinstance(value.elts[0], ast.List):
            value = value.elts[0]
        if isinstance(value, ast.List | ast.Tuple):
            made = [item for item in value.elts if is_optimizer(item, method)]
            if len(made) > 1:
                slip(part, "several_optimizers")


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
            if part.attr == "validation_step":
                return  # that of another class
        used = of_self(method)
        calls = [part for part in ast.walk(method) if isinstance(part, ast.Call)]
        called = set().union(*(of_self(call.func) for call in calls))
        if not certain and called - set(methods):
            return  # it may log
        todo += [name for name in used & set(methods) if name not in reached]
        reached |= used & set(methods)
    slip(step, "validation_without_log")


def check_spelling(
    node: ast.ClassDef, kind: str, certain: bool, used: set[str], slip: Slip
) -> None:
    """Report methods that are nearly called like a hook, and that nothing calls."""
    methods = {method.name: method for method in own_functions(node.body)}
    for name, method in methods.items():
        known = name in HOOKS[kind] or f"{kind}.{name}" in RULES["hook"]
        if known or name in used or name.startswith("_"):
            continue
        similar = get_close_matches(name, HOOKS[kind], n=1, cutoff=CUTOFF)
        if kind == "LightningModule" and name in MISTAKEN:
            similar = [MISTAKEN[name]]
        if similar and similar[0] not in methods:
            required = certain and similar[0] in REQUIRED
            rule = "required_hook" if required else "misspelt_hook"
            slip(method, rule, name, *similar)


def check_callback(node: ast.ClassDef, slip: Slip) -> None:
    """Report state that a Callback returns and nobody keeps."""
    for method in own_functions(node.body):
        if method.name == "on_save_checkpoint":
            for part in ast.walk(method):
                if isinstance(part, ast.Return) and part.value is not None:
                    slip(part, "callback_returns_state")


def check_call(call: ast.Call, slip: Slip) -> None:
    """Check the arguments of one call."""
    called = ast.unparse(call.func) if isinstance(call.func, ast.Attribute) else ""
    name = called.split(".")[-1] or getattr(call.func, "id", "")
    if called == "self.manual_backward" and len(call.args) > 1:
        slip(call, "manual_backward")
    if called == "self.log" and any(isinstance(arg, ast.Dict) for arg in call.args):
        slip(call, "log_of_dict")
    given = [*call.args, *(k.value for k in call.keywords if k.arg == "params")]
    if not (OPTIMIZER.search(called or name) or name in ("filter", "chain", "list")):
        return
    for value in given:
        if isinstance(value, ast.Attribute) and value.attr == "parameters":
            slip(value, "parameters_not_called", ast.unparse(value))
        if name[0].isupper() and isinstance(value, ast.List) and value.elts:
            made = [getattr(part, "func", None) for part in value.elts]
            if all(getattr(func, "attr", "") == "parameters" for func in made):
                slip(value, "parameters_in_list")


def check_order(body: Sequence[ast.stmt], slip: Slip) -> None:
    """Report a model that is moved to a GPU after its optimizer was built."""
    built: set[str] = set()
    for statement in body:
        if isinstance(statement, ast.ClassDef | Function):
            continue
        for call in ast.walk(statement):
            if not isinstance(call, ast.Call):
                continue
            match call.func:
                case ast.Attribute(value=ast.Name(id=name), attr="cuda" | "to" as how):
                    if name in built:
                        slip(call, "optimizer_before_cuda", name, f"{how}()")
                        built.discard(name)
            if OPTIMIZER.search(ast.unparse(call.func)):
                for argument in call.args:
                    match getattr(argument, "func", None):
                        case ast.Attribute(value=ast.Name(id=name), attr="parameters"):
                            built.add(name)
