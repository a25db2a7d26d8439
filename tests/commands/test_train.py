"""The commands of the core pair: what they print and leave, and how they end."""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pytorch_lightning.utilities.exceptions import SIGTERMException

import lightning.train
import plain_pytorch.train
from shared.datasets.download import DIGESTS
from shared.options.train import Config as TrainConfig
from shared.runtime.command import to_arguments, user_errors
from shared.runtime.errors import UserError
from tests.processes import (
    ROOT,
    finish,
    finish_forked,
    fork,
    run,
    run_forked,
    start,
)

HALVES = ["plain_pytorch", "lightning"]
NO_NETWORK = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}


@pytest.mark.parametrize("half", HALVES)
def test_a_run_says_and_leaves_what_it_should(small: TrainConfig, half: str) -> None:
    status, stdout, stderr = run_forked(f"{half}.train", *to_arguments(small))
    assert status == 0
    assert "site-packages" not in stderr  # no warning, from whichever library
    assert "litlogger" not in stderr
    run_dir = small.output_dir / "train" / half / "version_0"
    *_, folder, curves = stdout.splitlines()
    assert folder == f"The run is in {run_dir}"
    assert curves == "See its curves: make tensorboard"
    assert list(run_dir.glob("events.out.tfevents.*"))
    saved = sorted(path.name for path in (run_dir / "checkpoints").iterdir())
    assert saved == ["best.ckpt", "last.ckpt"]

    for name in saved:
        checkpoint = torch.load(run_dir / "checkpoints" / name, weights_only=True)
        assert checkpoint["hyper_parameters"] == {
            "hidden_dim": 64,
            "latent_dim": 3,
            "learning_rate": 1e-3,
        }
        assert len(checkpoint["optimizer_states"]) == 1
        for module in (plain_pytorch.train, lightning.train):
            model = module.Model(64, 3, 1e-3)
            model.load_state_dict(checkpoint["state_dict"], strict=True)
    assert (checkpoint["epoch"], checkpoint["global_step"]) == (1, 24)


def test_the_two_helps_differ_in_the_program_only() -> None:
    texts = [run_forked(f"{half}.train", "--help")[1] for half in HALVES]
    usages, descriptions, options = zip(
        *(text.split("\n\n", 2) for text in texts), strict=True
    )
    assert usages[0].replace("plain_pytorch", "lightning") == usages[1]
    assert "with the loop written by hand" in descriptions[0]
    assert "with a LightningModule and a Trainer" in descriptions[1]
    assert "--max-epochs" in options[0]


@pytest.mark.parametrize("half", HALVES)
def test_nothing_is_overwritten(small: TrainConfig, half: str) -> None:
    taken = small.output_dir / "train" / half / "version_0"
    taken.mkdir(parents=True)
    (taken / "mine.txt").write_text("keep")
    arguments = to_arguments(replace(small, max_epochs=1))
    assert run_forked(f"{half}.train", *arguments)[0] == 0
    assert [path.name for path in taken.iterdir()] == ["mine.txt"]
    assert (taken.parent / "version_1" / "checkpoints" / "best.ckpt").exists()
    status, _, stderr = run_forked(f"{half}.train", *arguments, f"--run-dir={taken}")
    assert status == 2
    assert_one_error(stderr, f"--run-dir {taken} is not empty: name a new folder")
    assert [path.name for path in taken.iterdir()] == ["mine.txt"]


def assert_one_error(stderr: str, said: str) -> None:
    """Fail unless there is one error, and it says this."""
    errors = [line for line in stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, stderr
    assert said in errors[0]


@pytest.mark.parametrize("half", HALVES)
def test_usage_errors_end_with_status_2(small: TrainConfig, half: str) -> None:
    arguments = to_arguments(small)
    status, _, stderr = run_forked(f"{half}.train", *arguments, "--batch-size=0")
    assert status == 2
    assert "--batch-size 0: must be from 1 to" in stderr
    status, _, stderr = run_forked(f"{half}.train", *arguments, WORLD_SIZE="2")
    assert status == 2
    assert_one_error(stderr, "take the lesson distributed")
    assert not small.output_dir.exists()


@pytest.mark.parametrize("half", HALVES)
def test_mnist_without_network_is_an_error(small: TrainConfig, half: str) -> None:
    arguments = to_arguments(replace(small, dataset="mnist"))
    status, _, stderr = run_forked(f"{half}.train", *arguments, **NO_NETWORK)
    assert status == 1
    assert_one_error(stderr, "mnist cannot be downloaded")
    assert "--dataset mnist-5k needs no network" in stderr
    assert not [path for path in small.output_dir.rglob("*") if path.is_file()]
    assert not list(small.output_dir.glob("*/*/version_*"))


@pytest.mark.parametrize("half", HALVES)
def test_a_damaged_file_is_named(small: TrainConfig, half: str) -> None:
    path = small.data_dir / next(iter(DIGESTS["mnist"]))
    path.parent.mkdir(parents=True)
    path.write_text("<html>404</html>")
    arguments = to_arguments(replace(small, dataset="mnist"))
    status, _, stderr = run_forked(f"{half}.train", *arguments, **NO_NETWORK)
    assert status == 1
    assert_one_error(stderr, f"{path} is damaged")
    assert path.read_text() == "<html>404</html>"


@pytest.mark.parametrize("half", HALVES)
def test_an_output_folder_that_cannot_be_made(small: TrainConfig, half: str) -> None:
    small.output_dir.write_text("a file")
    status, _, stderr = run_forked(f"{half}.train", *to_arguments(small))
    assert status == 1
    assert_one_error(stderr, f"Not a directory: '{small.output_dir}")


@pytest.mark.parametrize(
    ("half", "sent", "status"),
    [("plain_pytorch", signal.SIGTERM, 143), ("lightning", signal.SIGINT, 130)],
)
def test_a_signal_ends_the_run_with_what_was_saved(
    small: TrainConfig, tmp_path: Path, half: str, sent: signal.Signals, status: int
) -> None:
    arguments = to_arguments(replace(small, max_epochs=100_000))
    process = fork(tmp_path, f"{half}.train", *arguments)
    checkpoints = small.output_dir / "train" / half / "version_0" / "checkpoints"
    while len(list(checkpoints.glob("*.ckpt"))) < 2 and process.is_alive():
        time.sleep(0.05)
    os.kill(process.pid, sent)
    ended, _, stderr = finish_forked(process, tmp_path)
    assert ended == status
    best, last = checkpoints / "best.ckpt", checkpoints / "last.ckpt"
    assert f"\nsaved so far: {best} {last}\n" in stderr
    torch.load(last, weights_only=True)


@pytest.mark.slow
@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize(
    ("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_a_signal_that_reaches_the_workers_too(
    small: TrainConfig, half: str, sent: signal.Signals, status: int
) -> None:
    config = replace(small, num_workers=2, batch_size=4, limit_train_batches=None)
    process = start(f"{half}.train", *to_arguments(replace(config, max_epochs=100_000)))
    last = small.output_dir / "train" / half / "version_0" / "checkpoints" / "last.ckpt"
    while not last.exists() and process.poll() is None:
        time.sleep(0.05)
    time.sleep(0.3)  # into the epoch: workers that are just starting may complain
    os.killpg(process.pid, sent)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == status
    assert f"\nsaved so far: {last.with_name('best.ckpt')} {last}\n" in stderr


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize(
    "module", ["plain_pytorch.train", "lightning.train", "compare"]
)
def test_ctrl_c_during_the_imports_is_quiet(module: str) -> None:
    process = start(module)
    maps = Path(f"/proc/{process.pid}/maps")
    while "libtorch" not in maps.read_text():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    status, stdout, stderr = finish(process)
    assert (status, stdout, stderr) == (-signal.SIGINT, "", "")


def can_mount() -> bool:
    """Return whether this user may mount a file system of their own."""
    command = ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    if not shutil.which("unshare"):
        return False
    return subprocess.run(command, capture_output=True).returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(not can_mount(), reason="no right to mount a small disk")
def test_a_full_disk_leaves_no_half_file(small: TrainConfig) -> None:
    """Only by hand: Lightning writes a checkpoint in place, half of it if need be."""
    small.output_dir.mkdir()
    kept = small.output_dir.with_name("kept")
    # Room for one checkpoint of 1.2 MB, not for two. What is left is copied away,
    # because the disk is gone with the process that mounted it.
    script = (
        'mount -t tmpfs -o size=1800k tmpfs "$1" && output=$1 kept=$2 && shift 2'
        ' && "$@"; status=$?; cp -r "$output" "$kept"; exit $status'
    )
    command = [sys.executable, "-m", "plain_pytorch.train", *to_arguments(small)]
    process = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, "sh", small.output_dir, kept, *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert process.returncode == 1
    assert "Traceback" not in process.stderr
    assert_one_error(process.stderr, "best.ckpt cannot be written: No space left")
    (checkpoint,) = kept.glob("train/plain_pytorch/version_0/checkpoints/*")
    assert checkpoint.name == "last.ckpt"
    torch.load(checkpoint, weights_only=True)


@pytest.mark.slow
def test_our_lightning_wins_over_the_package_of_that_name(tmp_path: Path) -> None:
    (tmp_path / "lightning").mkdir()
    (tmp_path / "lightning" / "__init__.py").write_text("raise ImportError('theirs')")
    status, stdout, _ = run("lightning.train", "--help", PYTHONPATH=str(tmp_path))
    assert status == 0
    assert "python -m lightning.train" in stdout


def test_only_errors_that_the_user_can_solve_lose_their_traceback(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(ZeroDivisionError), user_errors():
        print(1 / 0)
    with pytest.raises(SystemExit, match="1"), user_errors():
        raise UserError("do this")
    assert capsys.readouterr().err == "error: do this\n"


def test_a_sigterm_that_a_trainer_passes_on_keeps_its_status() -> None:
    with pytest.raises(SystemExit, match="143"), user_errors():
        raise SIGTERMException  # it has no exit status of its own
