"""The lesson cli computes the same in both halves, from the same keys."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from pytorch_lightning.cli import LightningArgumentParser

import lightning.cli
import plain_pytorch.cli
from compare.parity.results import read_results
from compare.trace.command import trace
from lightning.cli import CLI
from plain_pytorch.cli import parse
from shared.checkpoints.whole_files import read_checkpoint
from shared.options.train import Config as TrainConfig
from shared.runtime.command import user_errors
from shared.runtime.run_dir import run_dirs
from tests.parity.halves import Ran, assert_same
from tests.processes import ROOT

MAINS = {"plain_pytorch": plain_pytorch.cli.main, "lightning": lightning.cli.main}
HALVES = tuple(MAINS)
TINY = ("--data.dataset=mnist-5k", "--data.batch_size=500", "--trainer.max_epochs=1")


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make each test run in a folder of its own, where output/ is made."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def no_options(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `sys.argv` be restored after each test."""
    monkeypatch.setattr(sys, "argv", ["cli"])


def run(half: str, *options: str) -> tuple[Ran, Path]:
    """Run a command line in this process; return what it computed, and its folder."""
    sys.argv[1:] = options
    with trace() as recorded:
        MAINS[half]()
    run_dir = run_dirs(Path("output", "cli", half))[-1]
    return Ran(recorded, read_results(run_dir)), run_dir


def values(half: str, *options: str) -> dict[str, Any]:
    """Return what a command line sets, by section."""
    if half == "plain_pytorch":
        return parse(list(options))
    sys.argv[1:] = options
    found = {}

    def stop(cli: CLI) -> None:
        found.update(cli.config.as_dict())
        sys.exit()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CLI, "before_instantiate_classes", stop)
        with pytest.raises(SystemExit):
            MAINS["lightning"]()
    return found


def refused(half: str, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    """Return the message of a command line that ends with exit status 2."""
    sys.argv[1:] = options
    with pytest.raises(SystemExit) as end, user_errors():
        MAINS[half]()
    assert end.value.code == 2
    assert not Path("output").exists()
    return capsys.readouterr().err


def test_one_file_and_the_same_options_give_the_same_run() -> None:
    Path("run.yaml").write_text(
        "seed_everything: 7\n"
        "model: {hidden_dim: 16, learning_rate: 1e-2}\n"
        "trainer:\n  max_epochs: 5\n"
        "data: {dataset: mnist-5k, batch_size: 300}\n"
    )
    options = ("--config=run.yaml", "--trainer.max_epochs=2")
    (plain, plain_dir), (other, other_dir) = (run(half, *options) for half in HALVES)
    assert_same(plain, other)
    assert "train_loss" in plain.results
    assert len(plain.trace.steps) == 2 * 14  # of 300 images, the last of 100
    assert plain.trace.steps[0].lr == (0.01,)
    checkpoints = [
        read_checkpoint(run_dir / "checkpoints" / "last.ckpt")
        for run_dir in (plain_dir, other_dir)
    ]
    expected = {"hidden_dim": 16, "latent_dim": 3, "learning_rate": 0.01}
    assert [checkpoint["hyper_parameters"] for checkpoint in checkpoints] == [
        expected,
        expected,
    ]


@pytest.mark.parametrize("half", HALVES)
def test_the_stored_configuration_gives_the_run_again(half: str) -> None:
    given = ("--seed_everything=3", "--model.latent_dim=5", "--model.learning_rate=.02")
    first, first_dir = run(half, *TINY, *given)
    stored = first_dir / "config.yaml"
    again, again_dir = run(half, f"--config={stored}")
    assert again_dir != first_dir
    assert_same(first, again)
    assert (again_dir / "config.yaml").read_text() == stored.read_text()


def test_lightning_repeats_what_the_plain_half_has_stored(
    capsys: pytest.CaptureFixture[str],
) -> None:
    plain, plain_dir = run("plain_pytorch", *TINY, "--model.hidden_dim=8")
    stored = f"--config={plain_dir / 'config.yaml'}"
    other, other_dir = run("lightning", stored)
    assert_same(plain, other)
    theirs = f"--config={other_dir / 'config.yaml'}"
    with pytest.raises(SystemExit) as end:
        values("plain_pytorch", theirs)
    assert end.value.code == 2
    assert "unrecognized arguments: --trainer.strategy" in capsys.readouterr().err


def test_both_halves_have_the_defaults_of_the_other_lessons() -> None:
    train = TrainConfig()
    expected = {
        "trainer": {"accelerator": train.accelerator, "max_epochs": train.max_epochs},
        "model": {
            "hidden_dim": train.hidden_dim,
            "latent_dim": train.latent_dim,
            "learning_rate": train.learning_rate,
        },
        "data": {"dataset": train.dataset, "batch_size": train.batch_size},
        "output_dir": "output/cli",
        "seed_everything": train.seed,
    }
    assert values("plain_pytorch") == expected
    found = values("lightning")
    for section, keys in expected.items():
        if isinstance(keys, dict):
            assert keys.items() <= found[section].items()
        else:
            assert found[section] == keys


WRONG_FILES = {
    "an unknown key": ("trainer:\n  max_epoch_s: 3\n", "max_epoch_s"),
    "an unknown section": ("optim:\n  lr: 3\n", "optim"),
    "a wrong type": ("model:\n  hidden_dim: many\n", "hidden_dim(.|\n)*many"),
    "a fraction": ("model:\n  hidden_dim: 1.5\n", "hidden_dim(.|\n)*1.5"),
    "no such choice": ("data:\n  dataset: letters\n", "dataset(.|\n)*letters"),
    "a list": ("trainer:\n  max_epochs: [1]\n", "max_epochs"),
    "broken": ("trainer: {max_epochs: 3\nmodel: 5\n", "line 2"),
    "code": ("data: !!python/object/apply:os.getcwd []\n", "constructor"),
    "no keys": ("- 1\n", ""),
}


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize(("text", "named"), WRONG_FILES.values(), ids=WRONG_FILES)
def test_a_wrong_file_is_refused(
    half: str, text: str, named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("run.yaml").write_text(text)
    message = refused(half, capsys, "--config=run.yaml")
    assert re.search(named, message), message


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize(
    ("option", "named"),
    [
        ("--trainer.max_epochs=many", "max_epochs(.|\n)*many"),
        ("--data.dataset=letters", "dataset(.|\n)*letters"),
        ("--data.batch_size=0", "--batch-size 0: must be from 1"),
        ("--data.seed=1", "data.seed"),
        ("fit", "fit"),
    ],
)
def test_a_wrong_option_is_refused(
    half: str, option: str, named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    message = refused(half, capsys, option)
    assert re.search(named, message), message


def test_a_missing_file_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert "nowhere.yaml" in refused("lightning", capsys, "--config=nowhere.yaml")
    with pytest.raises(FileNotFoundError, match=r"nowhere\.yaml"):
        values("plain_pytorch", "--config=nowhere.yaml")


# What the lesson's page says of their differences.
def test_an_option_or_the_later_one_counts() -> None:
    Path("run.yaml").write_text("model: {hidden_dim: 16}\n")
    options = ("--model.hidden_dim=8", "--config=run.yaml")
    assert values("plain_pytorch", *options)["model"]["hidden_dim"] == 8
    assert values("lightning", *options)["model"]["hidden_dim"] == 16
    turned = options[::-1]
    assert values("plain_pytorch", *turned)["model"]["hidden_dim"] == 8
    assert values("lightning", *turned)["model"]["hidden_dim"] == 8


def test_lightning_takes_an_abbreviation(capsys: pytest.CaptureFixture[str]) -> None:
    assert values("lightning", "--trainer.max_epoch=7")["trainer"]["max_epochs"] == 7
    assert "--trainer.max_epoch=7" in refused(
        "plain_pytorch", capsys, "--trainer.max_epoch=7"
    )


def test_lightning_takes_one_batch_for_all() -> None:
    found = values("lightning", "--trainer.limit_train_batches=1")
    assert type(found["trainer"]["limit_train_batches"]) is float


def test_lightning_takes_a_model_without_hidden_units(
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = (*TINY, "--model.hidden_dim=0")
    assert "--hidden-dim 0: must be" in refused("plain_pytorch", capsys, *options)
    ran, _ = run("lightning", *options)
    assert len(ran.trace.steps) == 8


def test_lightning_takes_an_optimizer_instead_of_the_models() -> None:
    ran, _ = run("lightning", *TINY, "--optimizer=SGD", "--optimizer.lr=0.5")
    assert ran.trace.steps[0].lr == (0.5,)


# These tests can fail.
def test_a_random_number_before_the_model_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def draw(cli: CLI) -> None:
        torch.rand(1)

    monkeypatch.setattr(CLI, "before_instantiate_classes", draw)
    plain, other = (run(half, *TINY)[0] for half in HALVES)
    with pytest.raises(AssertionError, match="loss at step 0"):
        assert_same(plain, other)


@pytest.mark.parametrize("half", HALVES)
def test_another_seed_is_another_run(half: str) -> None:
    one, other = (run(half, *TINY, f"--seed_everything={seed}")[0] for seed in (1, 2))
    assert one.trace.steps[0].batch != other.trace.steps[0].batch
    assert one.trace.optimizers[0].weights != other.trace.optimizers[0].weights


def test_a_seed_that_misses_the_data_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def link_no_seed(cli: CLI, parser: LightningArgumentParser) -> None:
        parser.add_argument("--output_dir", default="output/cli")
        parser.link_arguments("output_dir", "trainer.logger.init_args.save_dir")

    monkeypatch.setattr(CLI, "add_arguments_to_parser", link_no_seed)
    plain, other = (run(half, *TINY, "--seed_everything=1")[0] for half in HALVES)
    with pytest.raises(AssertionError, match="batch at step 0"):
        assert_same(plain, other)


def start(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the current folder, where its output/ is made."""
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_compare_hands_the_options_on() -> None:
    process = start("compare", "cli", *TINY, "--model.hidden_dim=8")
    assert process.returncode == 0, process.stderr
    assert process.stdout.endswith("same\n")
    stored = Path("output", "cli", "version_0", "plain_pytorch", "version_0")
    stored /= "config.yaml"
    assert yaml.safe_load(stored.read_text())["model"]["hidden_dim"] == 8
    again = start("compare", "cli", f"--config={stored}")
    assert again.stdout.endswith("same\n"), again.stderr
    assert start("compare", "cli", "--data.batch_size=0").returncode == 2
    assert (
        start("compare", "cli", "--help").stdout.count("--model.hidden_dim") == 2
    )  # usage, and list
