"""For every rule of compare/legacy: code that it is about, and code that it is not."""

import ast
import importlib
import inspect
import json
import pkgutil
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning import callbacks
from pytorch_lightning.tuner.tuning import Tuner

from compare.legacy.blocks import read
from compare.legacy.rules import API, RULES, Finding, Rule
from compare.legacy.search import search
from shared.runtime.hooks import hook_names

IMPORTS = """import pytorch_lightning as pl
import torch
from torch import nn, optim
from pytorch_lightning import callbacks, cli, profilers, strategies
"""
# Where a class is found, if not in pytorch_lightning itself.
MODULES = {
    "AdvancedProfiler": "profilers",
    "DeepSpeedStrategy": "strategies",
    "EarlyStopping": "callbacks",
    "LightningCLI": "cli",
    "ModelCheckpoint": "callbacks",
    "ModelSummary": "callbacks",
    "ProgressBar": "callbacks",
    "RichProgressBar": "callbacks",
    "SimpleProfiler": "profilers",
    "StochasticWeightAveraging": "callbacks",
}
MODULE = """
class Model(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 1)
    def training_step(self, batch, batch_idx):
        return self.layer(batch).sum()
    def configure_optimizers(self):
        return optim.SGD(self.parameters(), lr=0.1)
"""
# What each slip is about, and what it is not: methods of MODULE, or whole statements.
SLIPS = {
    "required_hook": (
        "class Model(pl.LightningModule):\n    def configure_optimizer(self): pass",
        "class Model(pl.LightningModule):\n    def configure_optimizers(self): pass",
    ),
    "misspelt_hook": (
        MODULE + "    def on_train_epoch_ends(self): pass",
        MODULE
        + "    def on_train_epoch_ends(self): pass\nModel().on_train_epoch_ends()",
    ),
    "parameters_not_called": (
        "optim.Adam(model.parameters, lr=0.1)",
        "register(model.parameters, lr=0.1)",
    ),
    "parameters_in_list": (
        "optim.Adam(params=[a.parameters(), b.parameters()])",
        "optim.Adam(params=[*a.parameters(), *b.parameters()])",
    ),
    "cuda_in_step": (
        MODULE + "    def test_step(self, batch, batch_idx): self.layer(batch.cuda())",
        MODULE + "    def to_gpu(self, batch): return batch.cuda()",
    ),
    "several_optimizers": (
        MODULE.replace("return optim", "a = optim.SGD(self.parameters())\n        ")
        .replace(".SGD(self.parameters(), lr=0.1)", "")
        .replace(
            "        \n", "        return [a, optim.Adam(self.parameters())], []\n"
        ),
        MODULE.replace("return optim.SGD(", "return [optim.SGD(").replace(
            "0.1)", "0.1)]"
        ),
    ),
    "manual_backward": (
        MODULE + "    def f(self): self.manual_backward(loss, optimizer)",
        MODULE + "    def f(self): self.manual_backward(loss, retain_graph=True)",
    ),
    "log_of_dict": (
        MODULE + "    def f(self): self.log('losses', {'a': 1})",
        MODULE + "    def f(self): self.log_dict({'a': 1})",
    ),
    "optimizer_frequency": (
        MODULE.replace(
            "return optim", "return {'frequency': 1, 'optimizer': optim"
        ).replace("0.1)", "0.1)}"),
        MODULE.replace(
            "return optim",
            "return {'lr_scheduler': {'scheduler': s,"
            " 'frequency': 1}, 'optimizer': optim",
        ).replace("0.1)", "0.1)}"),
    ),
    "returned_log": (
        MODULE.replace(
            "return self.layer(batch).sum()", "return {'log': {}, 'loss': 1}"
        ),
        MODULE + "    def summary(self): return {'log': {}, 'loss': 1}",
    ),
    "validation_without_log": (
        MODULE + "    def validation_step(self, batch, batch_idx): return self(batch)",
        MODULE + "    def validation_step(self, batch, batch_idx): self.shared(batch)\n"
        "    def shared(self, batch): self.log('val_loss', self(batch))",
    ),
    "unknown_argument": ("pl.Trainer(epochs=1)", "pl.Trainer(max_epochs=1)"),
    "positional_arguments": (
        MODULE + "    def f(self): self.toggle_optimizer(optimizer, 0)",
        MODULE + "    def f(self): self.toggle_optimizer(optimizer)",
    ),
    "unknown_name": (
        "from pytorch_lightning.utilities.imports import _APEX_AVAILABLE",
        "from pytorch_lightning.utilities.imports import _RICH_AVAILABLE",
    ),
    "unknown_attribute": (
        "thing = pl.Trainer()\nthing._lightning_optimizers",
        "thing = pl.Trainer()\nthing._results",
    ),
    "hook_signature": (
        "class Mine(pl.LightningModule):\n    def setup(self, mode): pass",
        "class Mine(pl.LightningModule):\n    def setup(self, stage): pass",
    ),
    "dropped_closure": (
        MODULE + "    def optimizer_step(self, epoch, batch_idx, optimizer, closure):\n"
        "        optimizer.step()",
        MODULE + "    def optimizer_step(self, epoch, batch_idx, optimizer, closure):\n"
        "        closure()\n        optimizer.step()",
    ),
    "read_only": (
        MODULE + "    def on_fit_start(self): self.device = 'cpu'",
        MODULE + "    def on_fit_start(self): self.devices = 'cpu'",
    ),
    "set_in_vain": (
        "thing = pl.Trainer()\nthing.resume_from_checkpoint = 'a.ckpt'",
        "thing = pl.Trainer()\nthing.note = 'a.ckpt'",
    ),
    "unparsed": ("def f(x:\n    y = = 1", "x = 1"),
    "compromised": ("'pytorch-lightning==2.6.3'", "'pytorch-lightning==2.6.6'"),
    "unsafe_checkpoint": ("'lightning<2'", "'lightning~=2.6'"),
    "callback_returns_state": (
        "class Mine(pl.Callback):\n"
        "    def on_save_checkpoint(self, trainer, pl_module, checkpoint): return {}",
        "class Mine(pl.Callback):\n    def state_dict(self): return {}",
    ),
}


def examples(rule: Rule) -> tuple[str, str]:
    """Return code with what a rule is about, and the nearest code without."""
    old = rule.old
    if rule.kind == "slip":
        return SLIPS[old]
    owner, _, last = old.partition("=")[0].rpartition(".")
    first, *method = owner.split(".")
    of_class = f"{MODULES.get(first, 'pl')}.{first}"
    if rule.kind in ("argument", "value"):
        value = {"{}": "{0: 2}", "": "given"}.get(old.partition("=")[2])
        value = value or old.partition("=")[2]
        first_given = "1, " if method or first == "EarlyStopping" else ""
        call = "().".join([of_class, *method]) + f"({first_given}{last}={value})"
        if f"{owner}.{last}" in RULES["argument"]:
            # An argument that another class of the same name has.
            own = re.sub(r"^\w+\.", "", call)
            return call, f"from elsewhere import {first}\n{own}"
        return call, call.replace(f"{last}={value}", f"{last}=other")
    if rule.kind == "missing":
        return f"{of_class}()", f"{of_class}({last}=1)"
    if rule.kind == "attribute":
        code = f"thing = {of_class}()\nprint(thing.{last})"
        own = f"class Own:\n    def {last}(self): pass\nthing = Own()\nthing.{last}()"
        return code, own
    if rule.kind == "assignment":
        base = {"Trainer": "nn.Module"}.get(owner, "nn.Module")
        code = f"class X(pl.{owner}):\n    def f(self): self.{last} = 1"
        return code, code.replace(f"pl.{owner}", base)
    if rule.kind == "hook":
        code = f"class X(pl.{owner}):\n    def {last}(self, *args): pass"
        return code, code.replace(f"pl.{owner}", "elsewhere.Base")
    if rule.kind == "parameter":
        before = "trainer, pl_module, " if first == "Callback" else ""
        code = (
            f"class X(pl.{first}):\n    def {method[0]}(self, {before}{last}=0): pass"
        )
        return code, code.replace(method[0], "method_of_mine")
    module = "pytorch_lightning" + owner[2:]
    return (
        f"from {module} import {last}",
        f"from pytorch_lightning import Trainer as {last}",
    )


def findings(path: Path) -> list[Finding]:
    """Return what is found in a file."""
    return [finding for finding, _, _ in search(read(path))]


ALL_RULES = [rule for rules in RULES.values() for rule in rules.values()]


# What Lightning 2.6 has: compare/legacy/api.json, written by
# python -m tests.compare.legacy_examples
STEPS = ("training_step", "validation_step", "test_step", "predict_step")
PACKAGES = ("callbacks", "cli", "loggers", "profilers", "strategies", "tuner")


def parameters(function: Any) -> str:
    """Return the parameters but self: after `*` by keyword only, `**` takes any."""
    shown: list[str] = []
    for name, one in list(inspect.signature(function).parameters.items())[1:]:
        if one.kind is one.KEYWORD_ONLY and not {"*", "*args"} & set(shown):
            shown.append("*")
        marks = {"VAR_POSITIONAL": "*args", "VAR_KEYWORD": "**"}
        shown.append(marks.get(one.kind.name, name))
    return " ".join(shown)


def given(hook: Any) -> str:
    """Return what a hook is given; with `?`, only where there are several loaders."""
    if hook.__name__ in STEPS:
        return "batch batch_idx? dataloader_idx?"
    if hook.__name__ == "backward":
        return "loss"
    return (
        parameters(hook).replace("dataloader_idx", "dataloader_idx?")
        if ("dataloader_idx: int = 0" in str(inspect.signature(hook)))
        else parameters(hook)
    )


def names_in(module: str) -> set[str]:
    """Return what a module has, and what its source binds on some machine."""
    path = Path(pl.__file__).parent.joinpath(*module.split(".")[1:])
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    names = {inner.stem for inner in path.glob("*") if inner.name[0] != "_"}
    todo: list[ast.AST] = [ast.parse(source.read_text())]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
            continue
        if isinstance(node, ast.alias):
            names.add(node.asname or node.name.split(".")[0])
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        todo += ast.iter_child_nodes(node)
    with suppress(ImportError):
        names |= set(dir(importlib.import_module(module)))
    return {name for name in names if name.isidentifier() and name[:2] != "__"}


def members(thing: Any) -> set[str]:
    """Return the attributes of an object."""
    return {name for name in dir(thing) if name[:2] != "__"}


def api() -> dict[str, Any]:
    """Return the names, parameters and hooks of the installed Lightning."""
    found = [
        info.name for info in pkgutil.walk_packages(pl.__path__, pl.__name__ + ".")
    ]
    modules = [pl.__name__, *(name for name in found if "__main__" not in name)]
    homes: dict[str, dict[int, str]] = {}
    for name in modules:
        with suppress(ImportError):
            for key, value in vars(importlib.import_module(name)).items():
                if not inspect.isclass(value) and not inspect.isfunction(value):
                    continue
                if key.startswith("_") or "._" in name:
                    continue
                own = getattr(value, "__module__", None) or ""
                if own.startswith(pl.__name__) and value.__name__ == key:
                    old = homes.setdefault(key, {}).get(id(value), name)
                    better = min(old, name, key=lambda p: (p.count("."), len(p), p))
                    homes[key][id(value)] = better
    classes = {"Trainer": pl.Trainer, "LightningDataModule": pl.LightningDataModule}
    for package in PACKAGES:
        for key, value in vars(
            importlib.import_module(f"{pl.__name__}.{package}")
        ).items():
            if inspect.isclass(value) and value.__module__.startswith(pl.__name__):
                classes[key] = value
    signatures = {key: parameters(value.__init__) for key, value in classes.items()}  # type: ignore[misc]
    hooks = {
        owner: {name: given(getattr(kind, name)) for name in sorted(hook_names(kind))}
        for owner, kind in (
            ("LightningModule", pl.LightningModule),
            ("LightningDataModule", pl.LightningDataModule),
            ("Callback", pl.Callback),
        )
    }
    hooks["Callback"]["finetune_function"] = "pl_module epoch optimizer"
    hooks["Callback"]["freeze_before_training"] = "pl_module"
    for owner in (pl.Trainer, pl.LightningModule, callbacks.BaseFinetuning, Tuner):
        for name, value in vars(owner).items():
            value = getattr(value, "__func__", value)
            of_all = {*hooks["LightningModule"], *hooks["Callback"]}
            if inspect.isfunction(value) and name[0] != "_" and name not in of_all:
                static = isinstance(vars(owner)[name], staticmethod)
                own = "*args **" if static else parameters(value)
                signatures[f"{owner.__name__}.{name}"] = own
    instances = {
        "Trainer": pl.Trainer(accelerator="cpu", logger=False, barebones=True),
        "ModelCheckpoint": callbacks.ModelCheckpoint(),
        "EarlyStopping": callbacks.EarlyStopping("loss"),
    }
    read_only = {
        owner.__name__: " ".join(
            name
            for name in sorted(members(owner))
            if isinstance(getattr(owner, name), property)
            and not getattr(owner, name).fset
        )
        for owner in (pl.Trainer, pl.LightningModule, pl.LightningDataModule)
    }
    return {
        "modules": {f"pl{m[17:]}": " ".join(sorted(names_in(m))) for m in modules},
        "homes": {
            key: f"pl{next(iter(paths.values()))[17:]}"
            for key, paths in sorted(homes.items())
            if len(paths) == 1
        },
        "signatures": signatures,
        "hooks": hooks,
        "members": {key: " ".join(sorted(members(x))) for key, x in instances.items()},
        "read_only": read_only,
    }


if __name__ == "__main__":
    API.write_text(json.dumps(api(), indent=1) + "\n")
