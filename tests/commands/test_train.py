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

from lightning.train import LitAutoEncoder
from plain_pytorch.train import PlainAutoEncoder
from shared.datasets.download import DIGESTS
from shared.options.train import TrainConfig
from tests.processes import ROOT, finish, run, run_forked, start

HALVES = ["plain_pytorch", "lightning"]
NO_NETWORK = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}


@pytest.mark.parametrize("half", HALVES)
def test_a_run_says_and_leaves_what_it_should(small: TrainConfig, half: str) -> None:
    status, stdout, stderr = run(f"{half}.train", *small.to_arguments())
    assert status == 0
    assert "site-packages" not in stderr  # no warning, from whichever library
    assert "litlogger" not in stderr
    run_dir = small.output_dir / half / "train" / "version_0"
    *_, dataset, validation, test, checkpoints, curves = stdout.splitlines()
    assert dataset.split() == ["data", "set", "mnist-5k"]
    assert validation.startswith("best validation loss  0.")
    assert test.startswith("test loss             0.")
    assert checkpoints.endswith(str(run_dir / "checkpoints"))
    assert curves.endswith(f"tensorboard --logdir {small.output_dir}")
    saved = sorted(path.name for path in (run_dir / "checkpoints").iterdir())
    assert saved == ["best.ckpt", "last.ckpt"]

    for name in saved:
        checkpoint = torch.load(run_dir / "checkpoints" / name, weights_only=True)
        assert checkpoint["hyper_parameters"] == {
            "hidden_dim": 64,
            "latent_dim": 3,
            "learning_rate": 1e-3,
        }
        assert checkpoint["dataset"] == "mnist-5k"
        assert len(checkpoint["optimizer_states"]) == 1
        for model in (PlainAutoEncoder, LitAutoEncoder):
            model(64, 3, 1e-3).load_state_dict(checkpoint["state_dict"], strict=True)
    assert (checkpoint["epoch"], checkpoint["global_step"]) == (1, 24)


def test_the_two_helps_differ_in_the_program_only() -> None:
    texts = [run_forked(f"{half}.train", "--help")[1] for half in HALVES]
    assert "--max-epochs" in texts[0]
    assert texts[0].replace("plain_pytorch", "lightning") == texts[1]


@pytest.mark.parametrize("half", HALVES)
def test_nothing_is_overwritten(small: TrainConfig, half: str) -> None:
    taken = small.output_dir / half / "train" / "version_0"
    taken.mkdir(parents=True)
    (taken / "mine.txt").write_text("keep")
    assert (
        run_forked(f"{half}.train", *replace(small, max_epochs=1).to_arguments())[0]
        == 0
    )
    assert [path.name for path in taken.iterdir()] == ["mine.txt"]
    assert (taken.parent / "version_1" / "checkpoints" / "best.ckpt").exists()


def assert_one_line(stderr: str, said: str) -> None:
    """Fail unless the errors are one line that says this."""
    errors = [line for line in stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, stderr
    assert said in errors[0]


@pytest.mark.parametrize("half", HALVES)
def test_usage_errors_end_with_status_2(small: TrainConfig, half: str) -> None:
    status, _, stderr = run_forked(
        f"{half}.train", *small.to_arguments(), "--batch-size", "0"
    )
    assert status == 2
    assert stderr.count("\n") == 1
    assert_one_line(stderr, "--batch-size: 0")
    assert not small.output_dir.exists()


@pytest.mark.parametrize("half", HALVES)
def test_mnist_without_network_is_an_error(small: TrainConfig, half: str) -> None:
    arguments = replace(small, dataset="mnist").to_arguments()
    status, _, stderr = run_forked(f"{half}.train", *arguments, **NO_NETWORK)
    assert status == 1
    assert_one_line(stderr, "mnist cannot be downloaded")
    assert "--dataset mnist-5k needs no network" in stderr
    assert not [path for path in small.output_dir.rglob("*") if path.is_file()]
    assert not list(small.output_dir.glob("*/*/version_*"))


@pytest.mark.parametrize("half", HALVES)
def test_a_damaged_file_is_named(small: TrainConfig, half: str) -> None:
    path = small.data_dir / next(iter(DIGESTS["mnist"]))
    path.parent.mkdir(parents=True)
    path.write_text("<html>404</html>")
    arguments = replace(small, dataset="mnist").to_arguments()
    status, _, stderr = run_forked(f"{half}.train", *arguments, **NO_NETWORK)
    assert status == 1
    assert_one_line(stderr, f"{path} is damaged")
    assert path.read_text() == "<html>404</html>"


@pytest.mark.parametrize("half", HALVES)
def test_a_model_too_large_for_the_memory(small: TrainConfig, half: str) -> None:
    arguments = replace(small, hidden_dim=2**31 - 1).to_arguments()
    status, _, stderr = run_forked(f"{half}.train", *arguments)
    assert status == 1
    assert_one_line(stderr, "out of memory: lower --hidden-dim")
    assert not list(small.output_dir.rglob("version_*"))


@pytest.mark.parametrize("half", HALVES)
def test_an_output_folder_that_cannot_be_made(small: TrainConfig, half: str) -> None:
    small.output_dir.write_text("a file")
    status, _, stderr = run_forked(f"{half}.train", *small.to_arguments())
    assert status == 1
    assert_one_line(stderr, f"Not a directory: '{small.output_dir}")


@pytest.mark.parametrize("half", HALVES)
def test_a_loss_that_is_not_finite_stops_the_run(small: TrainConfig, half: str) -> None:
    arguments = replace(small, learning_rate=1e30).to_arguments()
    status, _, stderr = run_forked(f"{half}.train", *arguments)
    assert status == 1
    assert_one_line(stderr, "the training loss is nan at step 1: lower --learning-rate")
    assert "nothing saved yet but logs, in " in stderr


@pytest.mark.parametrize("half", HALVES)
def test_a_step_that_32_bits_cannot_hold_is_one_line(
    small: TrainConfig, half: str
) -> None:
    arguments = replace(small, learning_rate=1e38).to_arguments()
    status, _, stderr = run_forked(f"{half}.train", *arguments)
    assert status == 1
    assert_one_line(
        stderr, "too large a number for weights of 32 bits: lower --learning-rate"
    )


@pytest.mark.parametrize("half", HALVES)
def test_a_validation_loss_that_is_not_finite_stops_the_run(
    small: TrainConfig, half: str
) -> None:
    arguments = replace(small, learning_rate=1e30, limit_train_batches=1)
    status, _, stderr = run_forked(f"{half}.train", *arguments.to_arguments())
    assert status == 1
    assert_one_line(stderr, "the validation loss is nan at step 1")
    assert not list(small.output_dir.rglob("*.ckpt"))


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize(
    ("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_a_signal_ends_the_run_with_what_was_saved(
    small: TrainConfig, half: str, sent: signal.Signals, status: int
) -> None:
    process = start(f"{half}.train", *replace(small, max_epochs=100_000).to_arguments())
    last = small.output_dir / half / "train" / "version_0" / "checkpoints" / "last.ckpt"
    while not last.exists() and process.poll() is None:
        time.sleep(0.05)
    os.killpg(process.pid, sent)
    ended, _, stderr = finish(process)
    assert ended == status
    assert f"\nsaved so far: {last.with_name('best.ckpt')} {last}\n" in stderr
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
    process = start(
        f"{half}.train", *replace(config, max_epochs=100_000).to_arguments()
    )
    last = small.output_dir / half / "train" / "version_0" / "checkpoints" / "last.ckpt"
    while not last.exists() and process.poll() is None:
        time.sleep(0.05)
    time.sleep(0.3)  # into the epoch: workers that are just starting may complain
    os.killpg(process.pid, sent)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == status
    assert f"\nsaved so far: {last.with_name('best.ckpt')} {last}\n" in stderr


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


@pytest.mark.skipif(not can_mount(), reason="no right to mount a small disk")
@pytest.mark.parametrize("half", HALVES)
def test_a_full_disk_leaves_no_half_file(small: TrainConfig, half: str) -> None:
    small.output_dir.mkdir()
    kept = small.output_dir.with_name("kept")
    # Room for one checkpoint of 1.2 MB, not for two. What is left is copied away,
    # because the disk is gone with the process that mounted it.
    script = (
        'mount -t tmpfs -o size=1800k tmpfs "$1" && output=$1 kept=$2 && shift 2'
        ' && "$@"; status=$?; cp -r "$output" "$kept"; exit $status'
    )
    command = [sys.executable, "-m", f"{half}.train", *small.to_arguments()]
    process = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, "sh", small.output_dir, kept, *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert process.returncode == 1
    assert "Traceback" not in process.stderr
    assert_one_line(process.stderr, "last.ckpt cannot be written: No space left")
    (checkpoint,) = kept.glob("*/train/version_0/checkpoints/*")
    assert checkpoint.name == "best.ckpt"
    torch.load(checkpoint, weights_only=True)


def test_the_plain_half_never_imports_lightning() -> None:
    script = "import sys, plain_pytorch.train; print(*sys.modules)"
    process = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True
    )
    modules = process.stdout.split()
    assert "plain_pytorch.train" in modules
    assert not {"pytorch_lightning", "lightning", "torchvision"} & set(modules)


def test_our_lightning_wins_over_the_package_of_that_name(tmp_path: Path) -> None:
    (tmp_path / "lightning").mkdir()
    (tmp_path / "lightning" / "__init__.py").write_text("raise ImportError('theirs')")
    status, stdout, _ = run("lightning.train", "--help", PYTHONPATH=str(tmp_path))
    assert status == 0
    assert "lightning.train [options]" in stdout
