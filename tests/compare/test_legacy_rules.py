"""Every rule finds what it is about, nothing else, and its effect is the true one."""

import importlib
import inspect
import re
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning import callbacks, cli, profilers, strategies
from torch import Tensor, nn
from torch.utils.data import DataLoader

from compare.legacy.finder import class_name
from compare.legacy.rules import EFFECTS, HOOKS, RULES, Rule
from compare.legacy.search import search
from shared.runtime.hooks import hook_names
from tests.compare.legacy_examples import ALL_RULES, IMPORTS, examples


def of_kind(*kinds: str) -> pytest.MarkDecorator:
    rules = [rule for rule in ALL_RULES if rule.kind in kinds]
    return pytest.mark.parametrize("rule", rules, ids=lambda rule: rule.old)


@pytest.mark.parametrize("kind", RULES)
def test_a_rule_finds_its_own_and_no_more(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "code.py"
    for rule in RULES[kind].values():
        assert rule.effect in EFFECTS
        old, near = examples(rule)
        file.write_text(f"{IMPORTS}{old}\n")
        pattern = re.sub(r"\\\{\d\\\}", ".*", re.escape(rule.found))
        found = [f for f in search(file) if re.fullmatch(pattern, f.found)]
        assert {(f.effect, f.since) for f in found} == {(rule.effect, rule.since)}, old
        file.write_text(f"{IMPORTS}{near}\n")
        assert search(file) == [], near


# Effects: what Lightning does when it gets the old.
def find(path: str) -> Any:
    first, *rest = path.split(".")
    for module in (pl, callbacks, cli, profilers, strategies):
        if hasattr(module, first):
            found = getattr(module, first)
            for name in rest:
                found = getattr(found, name)
            return found
    raise AssertionError(path)


class Model(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def training_step(self, batch: Tensor, batch_idx: int) -> Any:
        return self.layer(batch).sum()

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.layer(batch)

    test_step = validation_step

    def predict_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return self.layer(batch)

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1)]

    def train_dataloader(self) -> DataLoader[Tensor]:
        return DataLoader(torch.ones(2, 2))  # type: ignore[arg-type]

    val_dataloader = test_dataloader = predict_dataloader = train_dataloader


def trainer(**options: Any) -> pl.Trainer:
    options.setdefault("accelerator", "cpu")
    return pl.Trainer(
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )


def run(model: pl.LightningModule, *more: pl.Callback) -> pl.Trainer:
    """Run all that calls hooks."""
    made = trainer(callbacks=list(more), gradient_clip_val=1.0)
    made.fit(model)
    made.validate(model, verbose=False)
    made.test(model, verbose=False)
    made.predict(model)
    return made


def run_with(rule: Rule, methods: dict[str, Any], parts: str = "all") -> None:
    """Run a model or a Callback that has these methods."""
    if rule.old.startswith("Callback"):
        base = callbacks.BaseFinetuning if "finetune" in rule.old else pl.Callback
        methods = {"freeze_before_training": lambda self, pl_module: None} | methods
        more = [type("Mine", (base,), methods)()]
        model: pl.LightningModule = Model()
    else:
        more = []
        model = type("Mine", (Model,), methods)()
    if parts == "fit":
        trainer(callbacks=more, gradient_clip_val=1.0).fit(model)
    else:
        run(model, *more)


def test_the_effect_of_an_argument() -> None:
    for rule in RULES["argument"].values():
        owner, _, name = rule.old.rpartition(".")
        signature = inspect.signature(find(owner))
        if rule.effect == "ignored":
            signature.bind_partial(**{name: 1})
        else:
            with pytest.raises(TypeError, match=name):
                signature.bind_partial(**{name: 1})


@of_kind("missing")
def test_the_effect_of_a_missing_argument(rule: Rule) -> None:
    owner, name = rule.old.split(".")
    with pytest.raises(TypeError, match=name):
        find(owner)()


@of_kind("value")
def test_the_effect_of_a_value(rule: Rule, recwarn: pytest.WarningsRecorder) -> None:
    owner, _, name = rule.old.partition("=")[0].rpartition(".")
    text = rule.old.partition("=")[2]
    value = {0: 2} if text == "{}" else eval(text)
    if rule.effect == "warns":
        trainer(**{name: value})
        assert any("historical reasons" in str(w.message) for w in recwarn)
        return
    if owner == "Trainer":
        with pytest.raises(Exception, match=r"."):
            trainer(**{name: value}).fit(Model())
    else:
        with pytest.raises(Exception, match=f"{value}"):
            find(owner)(monitor="loss", **{name: value})


def test_the_effect_of_an_attribute() -> None:
    made = trainer()
    for rule in RULES["attribute"].values():
        owner, name = rule.old.split(".")
        thing = made if owner == "Trainer" else find(owner)()
        if rule.effect == "raises":
            with pytest.raises(AttributeError):
                getattr(thing, name)
        else:
            # What it does after the warning, only a whole model bears.
            with suppress(Exception), pytest.warns(match="deprecated"):
                getattr(thing, name)()


@of_kind("assignment")
def test_the_effect_of_an_assignment(rule: Rule) -> None:
    owner, name = rule.old.split(".")
    thing = trainer() if owner == "Trainer" else Model()
    if rule.effect == "ignored":
        setattr(thing, name, 2)
        assert name not in inspect.getsource(pl.loops.fit_loop)
    else:
        with pytest.raises(AttributeError, match="no setter"):
            setattr(thing, name, 2)


def test_hooks_that_are_ignored() -> None:
    def never(self: Any, *args: Any) -> None:
        raise AssertionError("a Trainer has called this")

    rules = [r for r in RULES["hook"].values() if r.effect == "ignored"]
    for owner in ("LightningModule", "Callback"):
        named = [r.old.split(".")[1] for r in rules if r.old.startswith(owner + ".")]
        assert named
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "|".join(named))
            run_with(RULES["hook"][f"{owner}.{named[0]}"], dict.fromkeys(named, never))


def test_hooks_of_a_data_module_that_are_ignored() -> None:
    names = [r.old.split(".")[1] for r in RULES["hook"].values() if "Data" in r.old]
    assert len(names) == 6
    assert not [name for name in names if hasattr(pl.LightningDataModule, name)]


@of_kind("hook")
def test_the_effect_of_a_hook(rule: Rule, recwarn: pytest.WarningsRecorder) -> None:
    name = rule.old.split(".")[1]
    if rule.effect == "raises":
        with pytest.raises(NotImplementedError, match=name):
            run_with(rule, {name: lambda self, *args: None})
    elif rule.effect == "warns":
        run_with(rule, {name: lambda self, *args: None})
        assert any(name in str(w.message) for w in recwarn)


# What a hook is given before the parameter in question, as old tutorials had it.
BEFORE = {
    "LightningModule.training_step": "batch, batch_idx",
    "LightningModule.backward": "loss",
    "LightningModule.optimizer_step": "epoch, batch_idx, optimizer",
    "LightningModule.optimizer_zero_grad": "epoch, batch_idx, optimizer",
    "LightningModule.lr_scheduler_step": "scheduler",
    "LightningModule.configure_gradient_clipping": "optimizer",
    "LightningModule.on_before_optimizer_step": "optimizer",
    "LightningModule.on_train_batch_start": "batch, batch_idx",
    "LightningModule.on_train_batch_end": "outputs, batch, batch_idx",
    "Callback.on_before_optimizer_step": "trainer, pl_module, optimizer",
    "Callback.on_train_batch_start": "trainer, pl_module, batch, batch_idx",
    "Callback.on_train_batch_end": "trainer, pl_module, outputs, batch, batch_idx",
    "Callback.on_train_epoch_end": "trainer, pl_module",
    "Callback.on_validation_epoch_end": "trainer, pl_module",
    "Callback.on_predict_epoch_end": "trainer, pl_module",
    "Callback.on_load_checkpoint": "trainer, pl_module",
    "Callback.finetune_function": "pl_module, epoch, optimizer",
}
AFTER = {"optimizer_step": "optimizer_closure", "lr_scheduler_step": "metric"}


@of_kind("parameter", "parameter_named")
def test_the_effect_of_a_parameter(rule: Rule) -> None:
    hook, _, name = rule.old.rpartition(".")
    default = "=None" if rule.kind == "parameter_named" else ""
    method = hook.split(".")[1]
    after = AFTER.get(method, "")
    given = ["self", BEFORE.get(hook, ""), name + default, after and after + default]
    body = "self.layer(batch).sum()" if method == "training_step" else "None"
    if method == "optimizer_step":
        body = "optimizer.step(closure=optimizer_closure)"
    code = f"lambda {', '.join(part for part in given if part)}: {body}"
    methods = {method: eval(code)}
    if rule.effect == "ignored":
        run_with(rule, methods)
        return
    with pytest.raises(Exception, match=r"argument|closure") as caught:
        run_with(rule, methods, "all" if "predict" in hook or "test" in hook else "fit")
    assert caught.type is not AssertionError


@of_kind("short")
def test_the_effect_of_a_short_hook(rule: Rule, tmp_path: Path) -> None:
    hook, _, needed = rule.old.rpartition(".")
    method = hook.split(".")[1]
    given = ", ".join(["self", "a", "b", "c"][: int(needed)])
    short = eval(f"lambda {given}: a")
    ckpt_path = None
    if rule.old.startswith("Callback"):
        mine = type("Mine", (pl.Callback,), {"state_dict": lambda self: {"a": 1}})
        made = trainer(callbacks=[mine()])
        made.fit(Model())
        ckpt_path = tmp_path / "x.ckpt"
        made.save_checkpoint(ckpt_path)
        setattr(mine, method, short)
        made, model = trainer(callbacks=[mine()]), Model()
    else:
        made, model = trainer(), type("Mine", (Model,), {method: short})()
    with pytest.raises(TypeError, match="positional argument"):
        made.fit(model, ckpt_path=ckpt_path, weights_only=True)


def test_the_effect_of_a_name() -> None:
    for rule in RULES["name"].values():
        path = "pytorch_lightning" + rule.old[2:]
        module, _, name = path.rpartition(".")
        try:
            found = getattr(importlib.import_module(module), name)
            if inspect.ismodule(found):  # one that Lightning itself imports
                found = importlib.import_module(path)
        except (ImportError, AttributeError):
            assert rule.effect == "raises", rule.old
            continue
        needed = ["16-mixed", "cpu"] if "MixedPrecision" in name else []
        needed = ["16-mixed"] if "DeepSpeed" in name else needed
        if rule.effect == "raises":
            with pytest.raises(NotImplementedError):
                found()
        else:
            with pytest.warns(match="deprecated"):
                found(*needed)


def test_the_slips_that_raise() -> None:
    def training_step(code: str) -> dict[str, Any]:
        return {"training_step": eval(f"lambda self, batch, batch_idx: {code}")}

    def optimizers(code: str) -> dict[str, Any]:
        names = {"SGD": lambda self: torch.optim.SGD(self.parameters(), lr=0.1)}
        return {"configure_optimizers": eval(f"lambda self: {code}", names)}

    rule = RULES["hook"]["LightningModule.on_epoch_end"]
    with pytest.raises(RuntimeError, match="multiple optimizers"):
        run_with(rule, optimizers("([SGD(self), SGD(self)], [])"), "fit")
    with pytest.warns(RuntimeWarning, match="frequency"):
        run_with(rule, optimizers("{'optimizer': SGD(self), 'frequency': 1}"), "fit")
    with pytest.raises(ValueError, match="dict"):
        run_with(rule, training_step("self.log('loss', {'a': 1})"), "fit")
    manual = "self.manual_backward(self.layer(batch).sum(), self.optimizers())"
    by_hand = training_step(manual) | {"automatic_optimization": False}
    with pytest.raises(TypeError, match="not iterable"):
        trainer().fit(type("Mine", (Model,), by_hand)())
    methods = {"configure_optimizer": None, "training_step": Model.training_step}
    missing = type("Mine", (pl.LightningModule,), methods)
    with pytest.raises(Exception, match="No `configure_optimizers"):
        trainer().fit(missing())
    model = Model()
    with pytest.raises(TypeError, match="not iterable"):
        torch.optim.Adam(model.parameters)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="can only optimize Tensors"):
        torch.optim.Adam([model.parameters()])  # type: ignore[arg-type]


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_cuda_in_a_step_raises() -> None:
    rule = RULES["hook"]["LightningModule.on_epoch_end"]
    step = {"training_step": lambda self, batch, batch_idx: batch.cuda()}
    with pytest.raises((RuntimeError, AssertionError), match=r"CUDA|NVIDIA"):
        run_with(rule, step, "fit")


def test_the_slips_that_are_ignored(recwarn: pytest.WarningsRecorder) -> None:
    class Old(Model):
        def training_step(self, batch: Tensor, batch_idx: int) -> Any:
            loss = super().training_step(batch, batch_idx)
            return {"loss": loss, "log": {"a": loss}, "progress_bar": {"b": loss}}

        def validation_step(self, batch: Tensor, batch_idx: int) -> Any:
            return {"val_loss": self.layer(batch).sum()}

        def on_train_epoch_ends(self) -> None:
            raise AssertionError("a Trainer has called this")

    class OldCallback(pl.Callback):
        def on_save_checkpoint(self, *args: Any) -> Any:
            return {"a": 1}

    made = trainer(callbacks=[OldCallback()])
    made.fit(Old())
    assert not made.callback_metrics
    checkpoint = made._checkpoint_connector.dump_checkpoint()
    assert "OldCallback" not in checkpoint["callbacks"]
    said = " ".join(str(warning.message) for warning in recwarn)
    assert "progress_bar" not in said
    assert "val_loss" not in said


# The table and the rest of the project.
def test_the_hooks_are_those_of_lightning() -> None:
    for owner, names in HOOKS.items():
        assert set(names) == hook_names(getattr(pl, owner)), owner


def test_names_of_classes() -> None:
    assert class_name("pl.trainer.trainer.Trainer().fit") == "Trainer.fit"
    assert class_name("elsewhere.Trainer") == "elsewhere.Trainer"
