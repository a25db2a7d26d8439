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

from compare.legacy.rules import (
    CHANGED,
    EFFECTS,
    FIXES,
    HOOKS,
    LISTS,
    MOVED,
    READ_ONLY,
    RULES,
    Rule,
    missing_part,
)
from compare.legacy.slips import BY_NAME
from tests.compare.legacy_examples import ALL_RULES, IMPORTS, api, examples, findings


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
        found = [f for f in findings(file) if f.code == rule.code]
        assert [(f.effect, f.since) for f in found] == [(rule.effect, rule.since)], old
        pattern = re.sub(r"\\\{\d\\\}", ".*", re.escape(rule.found))
        assert re.fullmatch(pattern, found[0].found)
        file.write_text(f"{IMPORTS}{near}\n")
        assert findings(file) == [], near


def test_each_rule_has_a_code_of_its_own() -> None:
    codes = [rule.code for rule in ALL_RULES]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"PLL\d{3}", code) for code in codes)
    for old in FIXES:
        assert any(old in rules for rules in RULES.values()), old
    for old, new in MOVED.items():
        assert missing_part(old), old
        assert not missing_part(new), new


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
        base = callbacks.BaseFinetuning if "finetun" in rule.old else pl.Callback
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


def test_the_effect_of_an_assignment() -> None:
    things: dict[str, Any] = {"Trainer": trainer(), "LightningModule": Model()}
    things["LightningDataModule"] = pl.LightningDataModule()
    for rule in RULES["assignment"].values():
        owner, name = rule.old.split(".")
        if rule.effect == "ignored":
            setattr(things[owner], name, 2)
            assert name not in inspect.getsource(pl.loops.fit_loop)
        else:
            with pytest.raises(AttributeError, match="no setter"):
                setattr(things[owner], name, 2)
    for owner, names in READ_ONLY.items():
        for name in names:
            with pytest.raises(AttributeError, match="no setter"):
                setattr(things[owner], name, 2)


def test_old_arguments_can_be_set_in_vain() -> None:
    made = trainer()
    for old in [*RULES["argument"], *RULES["attribute"]]:
        owner, _, name = old.rpartition(".")
        if owner == "Trainer" and name not in READ_ONLY["Trainer"]:
            setattr(made, name, 2)
    assert made.fit_loop.max_epochs == 1
    made.fit(Model())


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
        match = "" if "finetunning" in name else name
        with pytest.raises(NotImplementedError, match=match):
            run_with(rule, {name: lambda self, *args: None})
    elif rule.effect == "warns":
        run_with(rule, {name: lambda self, *args: None})
        assert any(name in str(w.message) for w in recwarn)


@of_kind("parameter")
def test_the_effect_of_a_parameter(rule: Rule) -> None:
    hook, _, name = rule.old.rpartition(".")
    method = hook.split(".")[1]
    before, body = {
        "training_step": ("batch, batch_idx", "self.layer(batch).sum()"),
        "optimizer_step": ("epoch, batch_idx, optimizer", "optimizer.step(closure)"),
        "on_load_checkpoint": ("trainer, pl_module", "None"),
    }[method]
    default = "" if name == "hiddens" else "=None"
    code = f"lambda self, {before}, {name}{default}, closure{default}: {body}"
    code = (
        code if method == "optimizer_step" else code.replace(f", closure{default}", "")
    )
    if rule.effect == "ignored":
        run_with(rule, {method: eval(code)})
        return
    with pytest.raises(Exception, match=r"argument|closure") as caught:
        run_with(rule, {method: eval(code)}, "fit")
    assert caught.type is not AssertionError


def recording(kind: type, given: dict[str, tuple[int, set[str]]]) -> Any:
    """Return a subclass whose hooks keep how many arguments they get, and names."""

    def wrapped(name: str) -> Any:
        def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            given[name] = (len(args), set(kwargs))
            return getattr(super(made, self), name)(*args, **kwargs)

        return method

    owner = next(o for o in HOOKS if issubclass(kind, getattr(pl, o)))
    steps = [name for name in HOOKS[owner] if "batch_idx?" in HOOKS[owner][name]]
    names = set(HOOKS[owner]) - {*steps, "configure_sharded_model"}
    made = type("Recorded", (kind,), {name: wrapped(name) for name in names})
    return made()


class Data(pl.LightningDataModule):
    def train_dataloader(self) -> DataLoader[Tensor]:
        return DataLoader(torch.ones(2, 2))  # type: ignore[arg-type]

    val_dataloader = test_dataloader = predict_dataloader = train_dataloader

    def state_dict(self) -> dict[str, int]:
        return {"a": 1}


class Unfreezing(callbacks.BaseFinetuning):
    def freeze_before_training(self, pl_module: Any) -> None:
        pass

    def finetune_function(self, *args: Any) -> None:
        pass

    def state_dict(self) -> dict[str, Any]:
        return {"a": 1}

    def load_state_dict(self, state_dict: Any) -> None:
        pass

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        pass


def test_hooks_are_given_what_the_list_says(tmp_path: Path) -> None:
    given: dict[str, dict[str, tuple[int, set[str]]]] = {owner: {} for owner in HOOKS}
    for _ in range(2):  # the second time from a checkpoint
        file = tmp_path / "a.ckpt"
        model = recording(Model, given["LightningModule"])
        data = recording(Data, given["LightningDataModule"])
        callback = recording(Unfreezing, given["Callback"])
        made = trainer(callbacks=[callback], gradient_clip_val=1.0)
        made.fit(model, datamodule=data, ckpt_path=file if file.exists() else None)
        made.save_checkpoint(file)
        made.validate(model, datamodule=data, verbose=False)
        made.test(model, datamodule=data, verbose=False)
        made.predict(model, datamodule=data)
    model.training_step = lambda batch, batch_idx: 1 / 0
    made = trainer(callbacks=[callback])
    with pytest.raises(ZeroDivisionError):
        made.fit(model, datamodule=data)
    for owner, hooks in given.items():
        for name, (count, names) in hooks.items():
            listed = [one for one in HOOKS[owner][name].split() if one[-1] != "?"]
            assert count + len(names) == len(listed), (owner, name)
            assert names == BY_NAME.get(name, set()), (owner, name)
        never = set(HOOKS[owner]) - set(hooks)
        steps = {n for n in never if n.endswith("_step")}
        assert never - steps <= {
            "configure_sharded_model",  # the old name of configure_model
            "train_dataloader",  # those of the data module are asked
            "val_dataloader",
            "test_dataloader",
            "predict_dataloader",
            "on_after_batch_transfer",  # called only where a subclass overrides them
            "on_before_batch_transfer",
            "transfer_batch_to_device",
            "on_predict_model_eval",
            "on_validation_model_zero_grad",
        }, owner
    assert {hook.split(".")[1] for hook in CHANGED} <= {
        name for hooks in HOOKS.values() for name in hooks
    }


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("validation_step", "lambda self, batch, batch_idx, dataloader_idx: None"),
        ("setup", "lambda self, mode: None"),
        ("teardown", "lambda self: None"),
        ("on_validation_batch_end", "lambda self, a, b, c, dataloader_idx: None"),
        ("on_train_epoch_end", "lambda self, outputs: None"),
        ("configure_gradient_clipping", "lambda self, optimizer, a, b: None"),
    ],
)
def test_a_hook_with_other_parameters_raises(name: str, code: str) -> None:
    rule = RULES["slip"]["hook_signature"]
    with pytest.raises((TypeError, RuntimeError), match=r"argument"):
        run_with(rule, {name: eval(code)}, "fit")


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
    closure = {
        "optimizer_step": lambda self, e, b, optimizer, closure: optimizer.step()
    }
    with pytest.raises(Exception, match="closure hasn't been executed"):
        run_with(rule, closure, "fit")
    with pytest.raises(TypeError, match="epochs"):
        pl.Trainer(epochs=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="positional"):
        Model().toggle_optimizer(torch.optim.SGD(Model().parameters()), 0)  # type: ignore
    with pytest.raises(ImportError):
        exec("from pytorch_lightning.utilities.imports import _APEX_AVAILABLE")
    with pytest.raises(AttributeError):
        trainer()._lightning_optimizers  # type: ignore[attr-defined]  # noqa: B018
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


# The lists.
def test_the_lists_are_those_of_lightning() -> None:
    now = api()
    for name in ("signatures", "hooks", "read_only", "homes"):
        assert LISTS[name] == now[name], (
            f"{name}: python -m tests.compare.legacy_examples"
        )
    for name in ("modules", "members"):  # other machines have more
        for key, names in now[name].items():
            assert set(names.split()) <= set(LISTS[name][key].split()), key
