"""Find the mistakes that no list has, each with a function of its own."""

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches

from compare.legacy.classes import (
    CUTOFF,
    Function,
    keys,
    own_functions,
    parameters,
    returned,
    values,
)
from compare.legacy.rules import CHANGED, HOOKS, MISTAKEN, RULES

# A place, the name of a rule, and what its text shows.
Slips = Iterator[tuple[ast.AST, str, *tuple[str, ...]]]
RETURNS = re.compile(r"(training|validation|test)_(step|end|epoch_end|step_end)")
OPTIMIZER = re.compile(
    r"(Adam\w*|SGD|RMSprop|Ada\w+|LBFGS|Lion|\w*Optimizer)$|\boptim\.[A-Z]"
)
# What hooks are given by name.
BY_NAME = {
    "setup": {"stage"},
    "teardown": {"stage"},
    "configure_gradient_clipping": {"gradient_clip_val", "gradient_clip_algorithm"},
}
# Methods whose results are not those of the validation.
NOT_VALIDATION = re.compile(r"(on_)?(fit|train|test|predict)|configure_|forward|__init")
# Code that shows a result, or leaves that to others.
SHOWS = re.compile(
    r"\blog(?!its|sumexp|sigmoid|_softmax|_prob)|add_scalar|print|Result\("
    r"|[(\s]self[,)]|(?<!self)\.\w+_step\("
)
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


def check_signature(
    kind: str, method: Function, certain: bool, several_loaders: bool
) -> Slips:
    """Yield a hook that is given other arguments than it takes.

    Args:
        kind: the class of Lightning's that it is in.
        method: the hook.
        certain: whether the base says so; else only what has changed is meant.
        several_loaders: whether steps are given `dataloader_idx`, too.
    """
    given = HOOKS.get(kind, {}).get(method.name)
    bound = {ast.unparse(decorator) for decorator in method.decorator_list}
    if given is None or bound & {"staticmethod", "classmethod"}:
        return
    if not certain and f"{kind}.{method.name}" not in CHANGED:
        return
    args, own = method.args, parameters(method)
    always = [one for one in given.split() if one[-1] != "?"]
    at_most = 2 if "batch_idx?" in given else len(always)
    if "dataloader_idx" in own and several_loaders:
        at_most = len(own)
    few = len(own) - 1 < len(always) and not args.vararg
    many = len(own) - 1 - len(args.defaults) > at_most
    all_names = {*own, *(arg.arg for arg in args.kwonlyargs)}
    unnamed = BY_NAME.get(method.name, set()) - all_names and not args.kwarg
    if few or many or unnamed:
        shown = ", ".join(["self", *given.replace("?", "=0").split()])
        yield method, "hook_signature", method.name, shown


def has_loaders(nodes: Iterable[ast.ClassDef]) -> bool:
    """Return whether a class of the document gives several loaders to validate with."""
    several = (ast.List, ast.Tuple, ast.ListComp, ast.Dict)
    return any(
        isinstance(value, several)
        for node in nodes
        for method in own_functions(node.body)
        if re.fullmatch(r"(val|test|predict)_dataloader", method.name)
        for _, value in returned(method)
    )


def check_module(family: list[ast.ClassDef], certain: bool, by_hand: bool) -> Slips:
    """Yield what is wrong in the methods of a LightningModule.

    Args:
        family: the class, without a name where its header is missing, and its bases in
            the same document.
        certain: whether all that it inherits is LightningModule's.
        by_hand: whether another excerpt says that it optimizes by hand.
    """
    methods = {method.name: method for method in own_functions(family[0].body)}
    for name, method in methods.items():
        if name == "forward" or name.endswith("_step"):
            yield from check_devices(method)
        if RETURNS.fullmatch(name):
            yield from check_returned(method)
    if "optimizer_step" in methods:
        yield from check_closure(methods["optimizer_step"])
    text = "".join(map(ast.unparse, family))
    by_hand |= "automatic_optimization" in text or "manual_backward" in text
    excerpt = not family[0].name
    if configure := methods.get("configure_optimizers"):
        several = certain or "training_step" in methods or excerpt
        yield from check_optimizers(configure, several and not by_hand)
    everything = {m.name: m for one in family[::-1] for m in own_functions(one.body)}
    if "validation_step" in methods:
        yield from check_validation(everything, certain or excerpt)


def check_devices(method: Function) -> Slips:
    """Yield tensors that a step moves to a GPU."""
    for call in ast.walk(method):
        match call:
            case ast.Call(func=ast.Attribute(attr="cuda")):
                yield call, "cuda_in_step", ".cuda()", method.name
            case ast.Call(
                func=ast.Attribute(attr="to"), args=[ast.Constant(value=str(device))]
            ) if device.startswith("cuda"):
                yield call, "cuda_in_step", f'.to("{device}")', method.name


def check_returned(method: Function) -> Slips:
    """Yield what is returned to be logged."""
    found: list[tuple[str, ast.AST]] = []
    names = set()
    for statement, value in returned(method):
        names.add(ast.unparse(statement.value or value))
        found += keys(value).items()
    for part in ast.walk(method):
        match part:
            case ast.Subscript(
                value=owner, slice=ast.Constant(value=str(key)), ctx=ast.Store()
            ) if ast.unparse(owner) in names:
                found.append((key, part))
            case ast.Call(
                func=ast.Attribute(value=owner, attr="update"), args=[argument]
            ) if ast.unparse(owner) in names:
                found += keys(argument).items()
    advice = {"log": "...", "progress_bar": "..., prog_bar=True"}
    for key, place in found:
        if key in advice:
            yield place, "returned_log", key, advice[key], method.name


def check_closure(method: Function) -> Slips:
    """Yield an `optimizer_step` that drops the closure, which computes the loss."""
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
                yield part, "dropped_closure", name, closures[0]


def check_optimizers(method: Function, several: bool) -> Slips:
    """Yield several optimizers without manual optimization."""
    for part in ast.walk(method):
        found = keys(part)
        if {"optimizer", "frequency"} <= set(found):
            yield found["frequency"], "optimizer_frequency"
    for statement, value in returned(method) if several else ():
        if isinstance(value, ast.Tuple) and value.elts:
            inner = values(value.elts[0], method)
            if inner and isinstance(inner[0], ast.List):
                value = inner[0]
        if isinstance(value, ast.List | ast.Tuple):
            made = [item for item in value.elts if is_optimizer(item, method)]
            if len(made) > 1:
                yield statement, "several_optimizers"


def is_optimizer(node: ast.expr, function: Function) -> bool:
    """Return whether an expression is an optimizer, or a dict with one."""
    for value in values(node, function):
        if "optimizer" in keys(value):
            return True
        if isinstance(value, ast.Call):
            called = ast.unparse(value.func)
            return bool(OPTIMIZER.search(called)) and "lr_scheduler" not in called
    name = ast.unparse(node)
    return "opt" in name and "sched" not in name


def check_validation(methods: dict[str, Function], certain: bool) -> Slips:
    """Yield a validation of which nothing is ever seen."""
    step = methods["validation_step"]
    if all(isinstance(part, ast.Expr | ast.Pass | ast.Raise) for part in step.body):
        return  # an outline
    if {"validation_end", "validation_epoch_end"} & set(methods):
        return  # reported as such
    code = "\n".join(
        ast.unparse(part)
        for name, method in methods.items()
        if not NOT_VALIDATION.match(name)
        for part in method.body
    )
    inherited = set(re.findall(r"self\.(\w+)\(", code)) - set(methods)
    if not SHOWS.search(code) and (certain or not inherited):
        yield step, "validation_without_log"


def check_spelling(
    family: list[ast.ClassDef], kind: str, certain: bool, used: set[str]
) -> Slips:
    """Yield methods that are nearly called like a hook, and that nothing calls."""
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
            needed = similar[0] in ("training_step", "configure_optimizers")
            rule = "required_hook" if certain and needed else "misspelt_hook"
            yield method, rule, name, similar[0]


def check_callback(node: ast.ClassDef) -> Slips:
    """Yield state that a Callback returns and nobody keeps."""
    for method in own_functions(node.body):
        if method.name == "on_save_checkpoint":
            for part, value in returned(method):
                if not isinstance(value, ast.Constant):
                    yield part, "callback_returns_state"


def check_call(call: ast.Call, lists: Mapping[str, ast.List]) -> Slips:
    """Yield what is wrong in the arguments of a call, with the lists that names are."""
    called = ast.unparse(call.func)
    name = called.split(".")[-1]
    if called == "self.manual_backward" and len(call.args) > 1:
        yield call, "manual_backward"
    if called == "self.toggle_optimizer" and len(call.args) > 1:
        yield call, "positional_arguments", called, f"{len(call.args)}", "1"
    if called == "self.log" and any(isinstance(arg, ast.Dict) for arg in call.args):
        yield call, "log_of_dict"
    if not OPTIMIZER.search(called) and name != "filter":
        return
    for value in [*call.args, *(k.value for k in call.keywords if k.arg == "params")]:
        shown = ast.unparse(value)
        if re.fullmatch(r"[\w.]+\.parameters", shown):
            yield value, "parameters_not_called", shown
        if isinstance(value, ast.Name):
            value = lists.get(value.id, value)
        if name != "filter" and isinstance(value, ast.List) and value.elts:
            made = [getattr(part, "func", None) for part in value.elts]
            if all(getattr(func, "attr", "") == "parameters" for func in made):
                yield value, "parameters_in_list"
