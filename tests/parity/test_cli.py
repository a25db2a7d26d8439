"""The lesson cli computes the same in both halves, from the same keys."""

import re
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args
from unittest.mock import patch

import pytest
import torch
import yaml
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning import Trainer
from pytorch_lightning.cli import LightningArgumentParser

import lightning.cli
import plain_pytorch.cli
import shared.datasets.catalog
from compare.parity.results import read_results
from compare.trace.command import trace
from lightning.cli import LitCLI, LitModel, LitTrainer
from shared.checkpoints.lightning_format import Position, to_loops
from shared.checkpoints.whole_files import (
    CheckpointError,
    read_checkpoint,
    write_checkpoint,
)
from shared.options.cli import KEYS, CliConfig, read_given_checkpoint
from shared.options.train import TrainConfig
from shared.runtime.command import one_line_errors
from shared.runtime.errors import UsageError, UserError
from shared.runtime.run_dir import new_run_dir
from tests.parity.halves import Ran, assert_same
from tests.processes import ROOT
from tests.processes import run as run_command
from tests.time_limit import time_limit

HALVES = ("plain_pytorch", "lightning")
Use = Literal["validate", "test", "predict"]
LAST = Path("checkpoints", "last.ckpt")


@pytest.fixture
def base(small: TrainConfig) -> CliConfig:
    """Return the options of a run of two epochs of 12 batches."""
    return CliConfig(**vars(small))


@pytest.fixture
def trained(base: CliConfig) -> dict[str, Path]:
    """Return the checkpoint of an epoch of each half, of a small model."""
    config = replace(base, max_epochs=1, hidden_dim=16)
    return {half: run(half, config.to_arguments())[1] / LAST for half in HALVES}


def run(half: str, arguments: list[str]) -> tuple[Ran, Path]:
    """Run a command line; return what was computed, and the folder of the results."""
    with patch.object(sys, "argv", ["cli", *arguments]), trace() as recorded:
        if half == "lightning":
            with patch.object(lightning.cli, "report_cli") as report:
                lightning.cli.main()
            run_dir = report.call_args.args[2].absolute()
        else:
            config = plain_pytorch.cli.parse()
            run_dir = new_run_dir(config.output_dir / half / "cli")
            plain_pytorch.cli.main(config, run_dir)
    return Ran(recorded, read_results(run_dir)), run_dir


def printed(half: str, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Return what --print_config prints."""
    capsys.readouterr()
    with (
        patch.object(sys, "argv", ["cli", *arguments, "--print_config"]),
        pytest.raises(SystemExit) as end,
    ):
        plain_pytorch.cli.parse() if half == "plain_pytorch" else lightning.cli.main()
    assert not end.value.code
    return capsys.readouterr().out


def refused(half: str, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Return the one line that a command line ends with, with exit status 2."""
    capsys.readouterr()
    with (
        patch.object(sys, "argv", ["cli", *arguments]),
        pytest.raises(SystemExit) as end,
        one_line_errors(KEYS),
    ):
        plain_pytorch.cli.parse() if half == "plain_pytorch" else lightning.cli.main()
    assert end.value.code == 2
    out, err = capsys.readouterr()
    line, *more = err.splitlines()
    assert line.startswith("error: ")
    assert not more
    assert not out
    return line


def test_the_same_file_and_options_give_the_same_run(
    base: CliConfig, tmp_path: Path
) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(
        "seed_everything: 7\nmodel: {hidden_dim: 16, learning_rate: 1e-2}\n"
        "trainer:\n  max_epochs: 5\n  limit_val_batches: 1\n"
    )
    ours = ("--seed", "--model", "--data.batch_size")
    given = [
        option for option in base.to_arguments()[1:] if not option.startswith(ours)
    ]
    given = ["--data.batch_size=50", *given]
    arguments = ["fit", *given, f"--config={file}", "--trainer.max_epochs=2"]
    ran = {half: run(half, arguments) for half in HALVES}
    assert_same(*(ran[half][0] for half in HALVES))
    plain, lit = ran["plain_pytorch"][0].trace, ran["lightning"][0].trace
    assert len(plain.steps) == 24
    assert plain.steps[0].lr == (0.01,)
    assert {step.batch[0].shape[0][0] for step in plain.steps} == {50}
    assert len(plain.evaluations) == 2  # of one batch each: the file comes later
    assert len(lit.evaluations) == len(plain.evaluations) + 1  # the sanity check
    kept = [read_checkpoint(ran[half][1] / LAST) for half in HALVES]
    assert kept[0]["hyper_parameters"] == kept[1]["hyper_parameters"]
    assert kept[0]["hyper_parameters"]["hidden_dim"] == 16
    assert kept[0]["dataset"] == kept[1]["dataset"] == "mnist-5k"


@pytest.mark.parametrize("half", HALVES)
def test_a_printed_and_a_stored_configuration_give_the_run_again(
    base: CliConfig,
    half: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    monkeypatch.chdir(here)
    relative = replace(base, data_dir=Path("digits"), output_dir=Path("runs"), seed=3)
    arguments = replace(relative, max_epochs=1, batch_size=50).to_arguments()
    (there / "run.yaml").write_text(printed(half, arguments, capsys))
    first, first_dir = run(half, arguments)
    stored = (first_dir / "config.yaml").read_text()
    monkeypatch.chdir(there)
    second, second_dir = run(half, ["fit", "--config=run.yaml"])
    third, third_dir = run(half, ["fit", "-c", str(first_dir / "config.yaml")])
    assert_same(first, second)
    assert_same(first, third)
    folder = here / "runs" / half / "cli"
    names = [folder / f"version_{number}" for number in range(3)]
    assert [first_dir, second_dir, third_dir] == names
    assert (first_dir / "config.yaml").read_text() == stored
    assert (third_dir / "config.yaml").read_text() == stored
    assert yaml.safe_load(stored)["data"]["data_dir"] == str(here / "digits")
    assert not list(there.glob("[!r]*"))


def test_one_half_prints_what_the_other_takes(
    base: CliConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "run.yaml"
    plain = printed("plain_pytorch", base.to_arguments(), capsys)
    file.write_text(plain)
    lit = printed("lightning", ["fit", f"--config={file}"], capsys)
    shared, more = yaml.safe_load(plain), yaml.safe_load(lit)
    for section, values in shared.items():
        if isinstance(values, dict):
            assert values == {key: more[section][key] for key in values}
        else:
            assert values == more[section]
    assert more["trainer"].keys() > shared["trainer"].keys()
    assert more["model"] == shared["model"]
    assert more["data"] == shared["data"]
    file.write_text(lit)
    line = refused("plain_pytorch", ["fit", f"--config={file}"], capsys)
    assert "there is no key trainer." in line


@pytest.mark.parametrize("half", HALVES)
def test_the_defaults_are_those_of_the_other_lessons(
    half: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = yaml.safe_load(printed(half, ["test"], capsys))
    expected = CliConfig().by_key()
    del expected["data.data_dir"]  # DATA_DIR, as it was when lightning.cli was imported
    root_dir = Path(expected["trainer.default_root_dir"]).absolute()
    expected["trainer.default_root_dir"] = str(root_dir)
    found = {}
    for key in expected:
        section, _, name = key.rpartition(".")
        found[key] = tree[section][name] if section else tree[name]
    assert found == expected


@pytest.mark.parametrize("wrote", HALVES)
def test_either_half_goes_on_from_either_file_in_another_folder(
    base: CliConfig,
    trained: dict[str, Path],
    wrote: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(trained[wrote].parent)
    whole, _ = run("plain_pytorch", replace(base, hidden_dim=16).to_arguments())
    resumed = {}
    for half in HALVES:
        # The model is that of the checkpoint: the default of hidden_dim does not count.
        arguments = [*base.to_arguments(), "--ckpt_path=last.ckpt"]
        resumed[half], run_dir = run(half, arguments)
        stored = yaml.safe_load((run_dir / "config.yaml").read_text())
        assert stored["model"]["hidden_dim"] == 16
        assert stored["ckpt_path"] == str(trained[wrote])
        assert len(resumed[half].trace.steps) == 12
        for then, now in zip(
            whole.trace.steps[12:], resumed[half].trace.steps, strict=True
        ):
            assert replace(then, random={}) == replace(now, random={})
        last = read_checkpoint(run_dir / LAST)
        assert (last["epoch"], last["global_step"]) == (1, 24)
        for name, values in whole.results.items():
            if ("." in name and name != "best.ckpt") or name == "optimizer":
                assert torch.equal(values, resumed[half].results[name]), name
    assert_same(*(resumed[half] for half in HALVES))


@pytest.mark.parametrize("subcommand", get_args(Use))
def test_the_other_subcommands_give_the_same(
    base: CliConfig, trained: dict[str, Path], subcommand: Use
) -> None:
    path = trained["lightning"]
    config = replace(
        base, subcommand=subcommand, ckpt_path=path, limit_predict_batches=2
    )
    ran = {half: run(half, config.to_arguments()) for half in HALVES}
    plain, lit = (ran[half][0] for half in HALVES)
    assert_same(plain, lit)
    if subcommand == "predict":
        assert len(plain.results["embeddings"]) == 128
        assert {*plain.results} >= {"reconstructions.png", "embeddings.png"}
    else:
        (name,) = plain.results
        assert plain.results[name][:, 0].tolist() == [12]  # the checkpoint's step
        assert name == {"validate": "val_loss", "test": "test_loss"}[subcommand]
    for half in HALVES:
        assert (ran[half][1] / "config.yaml").exists()


WRONG_FILES = {
    "an unknown key": ("trainer:\n  max_epoch: 3\n", "max_epoch"),
    "an unknown section": ("optim:\n  lr: 3\n", "optim"),
    "a wrong type": ("model:\n  hidden_dim: many\n", "hidden_dim.*many"),
    "out of range": ("data:\n  batch_size: 0\n", "batch_size.*0"),
    "null": ("trainer:\n  max_epochs: null\n", "max_epochs.*null"),
    "a list": ("trainer:\n  max_epochs: [1]\n", "max_epochs"),
    "a section without keys": ("trainer: 5\n", "trainer"),
    "broken": ("trainer: {max_epochs: 3\nmodel: 5\n", "line 2"),
    "a tab": ("trainer:\n\tmax_epochs: 3\n", "line 2"),
    "code": ("data: !!python/object/apply:os.getcwd []\n", "constructor"),
    "no keys": ("- 1\n", ""),
    "empty": ("", ""),
    "not UTF-8": ("\udcff", "utf-8"),
    "no date": ("data: {dataset: 2024-13-45}\n", "month|dataset"),
    "too many digits": (f"seed_everything: {'1' * 5000}\n", "digits"),
    "too many digits, in hex": (f"seed_everything: 0x{'1' * 5000}\n", "digits|seed"),
    "a list for a path": ("trainer: {default_root_dir: [a]}\n", "default_root_dir"),
    "a number for a path": ("data: {data_dir: 5}\n", "data_dir"),
    "an empty path": ("data: {data_dir: ''}\n", "data_dir"),
}


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize(("text", "named"), WRONG_FILES.values(), ids=WRONG_FILES)
def test_a_wrong_file_is_one_line(
    half: str,
    text: str,
    named: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(text, errors="surrogateescape")
    arguments = ["fit", f"--config={file}", f"--trainer.default_root_dir={tmp_path}"]
    line = refused(half, arguments, capsys)
    assert re.search(named, line), line
    assert [*tmp_path.iterdir()] == [file]


WRONG_ARGUMENTS = {
    "": "subcommand",
    "fit --trainer.max_epoch=3": "--trainer.max_epoch=3",
    "fit --trainer.max_epochs=-5": "--trainer.max_epochs: .*-5",
    "fit --trainer.limit_train_batches=0.5": "--trainer.limit_train_batches: .*0.5",
    "fit --trainer.accelerator=tpu": "--trainer.accelerator: .*tpu",
    "fit --trainer.default_root_dir=": "--trainer.default_root_dir: ",
    "fit --trainer.default_root_dir=null": "--trainer.default_root_dir",
    "fit --data.data_dir=": "--data.data_dir: ",
    "fit --seed_everything=true": "--seed_everything: .*true",
    "fit --data.seed=1": "data.seed",
    "fit --config=nowhere.yaml": "nowhere.yaml",
    'fit --config={"model":{"hidden_dim":8}}': "--config.*file",
    "fit more": "more",
}


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize(("arguments", "named"), WRONG_ARGUMENTS.items())
def test_a_wrong_command_line_is_one_line(
    half: str,
    arguments: str,
    named: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    line = refused(half, arguments.split(), capsys)
    assert re.search(named, line), line
    assert not [*tmp_path.iterdir()]


def nested_anchors(levels: int, merge: str = "") -> str:
    """Return a file of one key, with 9 ** levels values in it."""
    lines = ["- &a0 {x: 1}"]
    for level in range(1, levels + 1):
        inside = ", ".join([f"*a{level - 1}"] * 9)
        lines.append(f"- &a{level} {f'{{<<: [{inside}]}}' if merge else f'[{inside}]'}")
    return "trainer:\n  max_epochs:\n" + "".join(f"  {line}\n" for line in lines)


ENDLESS_FILES = {
    "in a value": "model: &a\n  hidden_dim: *a\n",
    "in a section": "trainer: &a {x: *a}\n",
    "at the top": "&a\nmodel: *a\n",
    "in a list": "trainer: {callbacks: &a [*a]}\n",
    "merged": "trainer: &a {<<: *a}\n",
    "nested": nested_anchors(6),
    "nested and merged": nested_anchors(6, "<<"),
    "deep": "model: " + "[" * 100_000,  # a crash in PyYAML's loader written in C
}


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("text", ENDLESS_FILES.values(), ids=ENDLESS_FILES)
def test_a_file_without_an_end_is_one_line(
    half: str, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(text)
    with time_limit(20):
        line = refused(half, ["fit", f"--config={file}"], capsys)
    assert re.search("anchor|recursion", line), line
    assert [*tmp_path.iterdir()] == [file]


@pytest.mark.parametrize("half", HALVES)
def test_anchors_are_values(
    half: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(
        "threads: &one 1\n"
        "model: &sizes {hidden_dim: &size 8, latent_dim: *size}\n"
        "trainer: {max_epochs: *one}\n"
    )
    tree = yaml.safe_load(printed(half, ["fit", f"--config={file}"], capsys))
    assert (tree["threads"], tree["trainer"]["max_epochs"]) == (1, 1)
    assert (tree["model"]["hidden_dim"], tree["model"]["latent_dim"]) == (8, 8)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("half", HALVES)
def test_errors_name_the_keys_of_this_lesson(
    half: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = f"--trainer.default_root_dir={tmp_path}"
    line = refused(half, ["fit", "--trainer.accelerator=cuda", root], capsys)
    assert line.startswith("error: --trainer.accelerator cuda: torch finds no GPU")


def test_a_dry_run_leaves_nothing(
    base: CliConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*base.to_arguments(), "--trainer.fast_dev_run=true"]
    with patch.object(sys, "argv", ["cli", *arguments]):
        lightning.cli.main()
    assert not base.output_dir.exists()
    assert "results" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argument", "named"),
    [
        ("--trainer.strategy=none", "invalid strategy name"),
        ("--trainer.devices=foo", "devices"),
        ("--trainer.accumulate_grad_batches=0", "accumulate_grad_batches"),
        ("--trainer.check_val_every_n_epoch=0", "check_val_every_n_epoch"),
        (f"--trainer.devices={10**30}", "perhaps because of --trainer.devices"),
        ("--trainer.strategy=xla", "torch_xla.* of --trainer.strategy"),
    ],
)
def test_the_trainer_refuses_in_one_line(
    base: CliConfig, argument: str, named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refused("lightning", [*base.to_arguments(), argument], capsys)
    assert re.search(named, line), line
    assert not base.output_dir.exists()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["val_check_interval=0"], r"zero \(.* of --trainer.val_check_interval\)$"),
        (["val_check_interval=99"], "99.* of --trainer.val_check_interval"),
        (["val_check_interval=0", "detect_anomaly=true"], "interval or --trainer.det"),
        (
            ["callbacks=EarlyStopping", "callbacks.monitor=x"],
            "x.* of --trainer.callbacks",
        ),
        (["callbacks=Timer", "callbacks.duration=x"], "x.* of --trainer.callbacks"),
    ],
)
def test_what_the_trainer_finds_too_late_is_one_line(
    base: CliConfig,
    arguments: list[str],
    named: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = [f"--trainer.{argument}" for argument in arguments]
    with (
        patch.object(sys, "argv", ["cli", *base.to_arguments(), *given]),
        pytest.raises(SystemExit) as end,
        one_line_errors(KEYS),
    ):
        lightning.cli.main()
    assert end.value.code == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert re.match(f"error: .*{named}", line), line


@pytest.mark.slow
def test_a_full_disk_is_no_fault_of_a_key(base: CliConfig) -> None:
    arguments = [*base.to_arguments(), "--trainer.detect_anomaly=true"]
    process = subprocess.run(
        [sys.executable, "-m", "lightning.cli", *arguments],
        cwd=ROOT,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300)),
        capture_output=True,
        text=True,
    )
    assert process.returncode == 1
    assert process.stderr.endswith("error: [Errno 27] File too large\n")


def test_an_error_of_the_training_keeps_its_traceback(
    base: CliConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["cli", *base.to_arguments(), "--trainer.gradient_clip_val=1"]
    monkeypatch.setattr(sys, "argv", arguments)

    def divide(model: LitModel, batch: Any, batch_idx: int) -> Any:
        return 1 / batch_idx

    def log_twice(model: LitModel, batch: Any, batch_idx: int) -> None:
        model.log("x", 1.0)
        model.log("x", 1.0, on_epoch=True)  # Lightning raises

    for step, error in (
        (divide, ZeroDivisionError),
        (log_twice, MisconfigurationException),
    ):
        monkeypatch.setattr(LitModel, "training_step", step)
        with pytest.raises(error), one_line_errors(KEYS):
            lightning.cli.main()


def test_an_error_of_the_trainer_without_a_key_keeps_its_traceback(
    base: CliConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LitModel, "configure_optimizers", lambda model: 5)
    monkeypatch.setattr(sys, "argv", ["cli", *base.to_arguments()])
    with pytest.raises(MisconfigurationException), one_line_errors(KEYS):
        lightning.cli.main()


def dataset_in(stored: Path) -> str:
    """Return the data set that a stored configuration has."""
    return yaml.safe_load(stored.read_text())["data"]["dataset"]


@pytest.mark.parametrize("half", HALVES)
def test_what_auto_has_meant_is_stored(
    base: CliConfig, half: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(name: str, data_dir: Path) -> None:
        raise UserError(f"no network for {name} in {data_dir}")

    monkeypatch.setattr(shared.datasets.catalog, "fetch", offline)
    auto = replace(base, dataset="auto", max_epochs=1, limit_train_batches=1)
    _, run_dir = run(half, auto.to_arguments())
    assert dataset_in(run_dir / "config.yaml") == "mnist-5k"
    assert read_checkpoint(run_dir / LAST)["dataset"] == "mnist-5k"


@pytest.mark.parametrize("half", HALVES)
def test_auto_is_the_data_set_of_the_checkpoint(
    base: CliConfig,
    trained: dict[str, Path],
    half: str,
    tmp_path: Path,
) -> None:
    path = tmp_path / "other.ckpt"
    auto = replace(base, subcommand="test", dataset="auto", ckpt_path=path)
    write_checkpoint(path, read_checkpoint(trained[half]))
    _, run_dir = run(half, auto.to_arguments())
    assert dataset_in(run_dir / "config.yaml") == "mnist-5k"
    write_checkpoint(path, read_checkpoint(trained[half]) | {"dataset": "letters"})
    with pytest.raises(UserError, match="data set letters"):
        run(half, auto.to_arguments())


def test_two_trainings_at_once_have_a_folder_each(tmp_path: Path) -> None:
    root = str(tmp_path)
    trainers = [LitTrainer("cpu", default_root_dir=root, devices=1) for _ in range(2)]
    names = [Path(str(trainer.log_dir)).name for trainer in trainers]
    assert names == ["version_0", "version_1"]


@pytest.mark.parametrize(
    "half", ["plain_pytorch", pytest.param("lightning", marks=pytest.mark.slow)]
)
def test_the_command_ends_with_status_2(half: str, tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("trainer: {max_epochs: 1")
    status, out, err = run_command(f"{half}.cli", "fit", f"--config={file}")
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("subcommand", get_args(Use))
def test_random_weights_are_not_tested(
    subcommand: Use, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError, match=f"--ckpt_path.* to {subcommand}"):
        read_given_checkpoint(subcommand, None, 1)
    if subcommand == "test":
        assert "--ckpt_path" in refused("lightning", [subcommand], capsys)


def test_what_cannot_be_resumed_is_refused(
    trained: dict[str, Path], tmp_path: Path
) -> None:
    path = tmp_path / "other.ckpt"
    good = read_checkpoint(trained["plain_pytorch"])
    assert read_given_checkpoint("fit", trained["plain_pytorch"], 2) is not None
    with pytest.raises(CheckpointError, match=r"--trainer.max_epochs 1"):
        read_given_checkpoint("fit", trained["plain_pytorch"], 1)
    changes: dict[str, dict[str, Any]] = {
        "middle of an epoch": {"loops": to_loops(Position(0, 5, 5))},
        "lesson cli": {"loops": {}},
        "schedule": {"lr_schedulers": [{"gamma": 0.9}]},
        r"cannot be resumed": {"optimizer_states": []},
    }
    for said, change in changes.items():
        write_checkpoint(path, good | change)
        assert read_given_checkpoint("test", path, 1) is not None
        with pytest.raises(CheckpointError, match=said):
            read_given_checkpoint("fit", path, 2)


def test_another_random_number_before_the_model_is_noticed(
    base: CliConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = LitCLI.before_instantiate_classes

    def and_draw(cli: LitCLI) -> None:
        before(cli)
        torch.rand(1)

    monkeypatch.setattr(LitCLI, "before_instantiate_classes", and_draw)
    arguments = replace(base, max_epochs=1).to_arguments()
    ran = [run(half, arguments)[0] for half in HALVES]
    with pytest.raises(AssertionError, match="loss at step 0"):
        assert_same(*ran)


@pytest.mark.parametrize("half", HALVES)
def test_another_seed_is_another_run(base: CliConfig, half: str) -> None:
    config = replace(base, max_epochs=1, limit_train_batches=2)
    one, _ = run(half, config.to_arguments())
    other, _ = run(half, replace(config, seed=1).to_arguments())
    assert one.trace.steps[0].batch != other.trace.steps[0].batch
    assert one.trace.optimizers[0].weights != other.trace.optimizers[0].weights


def test_why_the_trainer_has_types_of_its_own() -> None:
    """Lightning's own parser: all batches for 1, and a misspelt key for another."""
    parser = LightningArgumentParser(exit_on_error=False)
    parser.add_lightning_class_args(Trainer, "trainer")
    given = ["--trainer.limit_train_batches=1", "--trainer.max_epoch=3"]
    options = parser.parse_args(given).trainer
    assert type(options.limit_train_batches) is float
    assert options.max_epochs == 3
