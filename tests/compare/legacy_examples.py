"""For every rule of compare/legacy: code that it is about, and code that it is not."""

import re

from compare.legacy.rules import RULES, Rule

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
    "optimizer_before_cuda": (
        "optimizer = optim.Adam(model.parameters())\nmodel.cuda()",
        "model.cuda()\noptimizer = optim.Adam(model.parameters())\nother.cuda()",
    ),
    "callback_returns_state": (
        "class Mine(pl.Callback):\n"
        "    def on_save_checkpoint(self, trainer, pl_module, checkpoint): return {}",
        "class Mine(pl.Callback):\n    def state_dict(self): return {}",
    ),
}


def examples(rule: Rule) -> tuple[str, str]:
    """Return code with what a rule is about, and the nearest code without."""
    old = rule.old
    owner, _, last = old.rpartition(".")
    first, *method = owner.split(".")
    of_class = f"{MODULES.get(first, 'pl')}.{first}"
    if rule.kind in ("argument", "value"):
        name, _, value = last.partition("=")
        value = {"{}": "{0: 2}", "": "0"}.get(value, value)
        call = "().".join([of_class, *method]) + f"(1, {name}={value})"
        if rule.kind == "argument":
            # An argument that another class of the same name has.
            return call, f"from elsewhere import {first}\n" + re.sub(
                r"^\w+\.", "", call
            )
        return call, call.replace(f"{name}={value}", f"{name}=other")
    if rule.kind == "missing":
        return f"{of_class}()", f"{of_class}({last}=1)"
    if rule.kind == "attribute":
        code = f"thing = {of_class}()\nprint(thing.{last})"
        own = f"class Own:\n    def {last}(self): pass\nthing = Own()\nthing.{last}()"
        return code, own
    if rule.kind == "assignment":
        bases = {
            "Trainer": ("pl.Trainer", "Other"),
            "LightningModule": (0, "nn.Module"),
        }
        bad, good = bases[owner]
        code = (
            f"class X({bad or 'pl.LightningModule'}):\n    def f(self): self.{last} = 1"
        )
        return code, code.replace(str(bad or "pl.LightningModule"), str(good))
    if rule.kind == "hook":
        code = f"class X(pl.{owner}):\n    def {last}(self, *args): pass"
        return code, code.replace(f"pl.{owner}", "elsewhere.Base")
    if rule.kind == "short":
        hook = method[0]
        names = ["a", "b", "c"][: int(last)]
        code = f"class X(pl.{first}):\n    def {hook}(self, {{}}): pass"
        return code.format(", ".join(names[1:])), code.format(", ".join(names))
    if rule.kind in ("parameter", "parameter_named"):
        before = "trainer, pl_module, " if method[0] == "on_load_checkpoint" else ""
        code = (
            f"class X(pl.{first}):\n    def {method[0]}(self, {before}{last}{{}}): pass"
        )
        if rule.kind == "parameter":
            return code.format(""), code.format("=None")
        return code.format("=None"), code.replace(last, "batch").format("=None")
    if rule.kind == "name":
        module = "pytorch_lightning" + owner[2:]
        code = f"from {module} import {last}"
        return code, f"from {module} import {last}_of_mine"
    return SLIPS[old]


ALL_RULES = [rule for rules in RULES.values() for rule in rules.values()]
