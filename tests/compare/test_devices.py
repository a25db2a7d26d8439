"""What more devices change: the commands that measure it, and the README's parts."""

import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from compare.bench import measured
from compare.bench.devices import render as devices
from compare.bench.readme import part
from compare.bench.scaling import render as scaling
from shared.options.train import TrainConfig
from tests.processes import finish, run_forked, start

PARTS: dict[str, Callable[[], str]] = {
    "devices": devices.readme_part,
    "scaling": scaling.readme_part,
}


@pytest.mark.parametrize("name", PARTS)
def test_the_readme_has_the_committed_numbers(name: str) -> None:
    """When this fails: python -m compare.NAME.render."""
    assert part(name) == PARTS[name]()


def changed(value: Any) -> Any:
    """Return another value of the same type."""
    if isinstance(value, list):
        return [changed(one) for one in value]
    return value + "!" if isinstance(value, str) else 2 * value + 1


@pytest.mark.parametrize(
    "path",
    [
        ("devices", "machine", "load"),
        ("devices", "dataset"),
        ("devices", "options", "max_epochs"),
        ("devices", "options", "seeds"),
        ("devices", "sums", "other_weights"),
        ("devices", "sums", "weight_by"),
        ("devices", "rates", "1x64"),
        ("devices", "rates", "2x64"),
        ("devices", "rates", "2x64, rate times sqrt 2"),
        ("devices", "rates", "2x64, rate times 2"),
        ("devices", "samplers", "once"),
        ("devices", "samplers", "shared", 0, "val_loss"),
        ("devices", "sync_dist", "TensorBoard"),
        ("devices", "sync_dist", "with sync_dist"),
        ("scaling", "machine", "load"),
        ("scaling", "dataset"),
        ("scaling", "options", "rounds"),
        ("scaling", "ways", 2, "ms"),
        ("scaling", "ways", 5, "messages"),
    ],
    ids=lambda path: " ".join(map(str, path)),
)
def test_other_numbers_make_the_readme_stale(
    path: tuple[Any, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, *keys, last = path
    file = measured.RESULTS / f"{name}-cpu.json"
    results = json.loads(file.read_text())
    place: Any = results
    for key in keys:
        place = place[key]
    place[last] = changed(place[last])
    (tmp_path / file.name).write_text(json.dumps(results))
    monkeypatch.setattr(measured, "RESULTS", tmp_path)
    assert part(name) != PARTS[name]()


@pytest.mark.slow
@pytest.mark.parametrize("name", PARTS)
def test_a_measurement_says_where_and_how(
    name: str, small: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tiny one has all that the README shows, and the committed one has no more."""
    tiny = replace(small, limit_train_batches=30, max_epochs=1)
    file = tmp_path / "new" / f"{name}-cpu.json"
    few = "--seeds=1" if name == "devices" else "--rounds=1"
    options = (*tiny.to_arguments(), few, f"--json={file}")
    process = start(f"compare.{name}", *options)
    stdout, stderr = process.communicate()
    assert process.returncode == 0, stderr
    assert "2x32" in stdout
    results = json.loads(file.read_text())
    expected = json.loads((measured.RESULTS / file.name).read_text())
    assert keys(results) == keys(expected)
    assert results["dataset"] == "mnist-5k"
    monkeypatch.setattr(measured, "RESULTS", file.parent)
    assert results["machine"]["date"] in PARTS[name]()


def keys(results: Any) -> Any:
    """Return the names in some results, without their values."""
    if isinstance(results, dict):
        return {name: keys(value) for name, value in results.items()}
    is_list = isinstance(results, list) and results and isinstance(results[0], dict)
    return [keys(one) for one in results] if is_list else None


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("devices", "--batch-size=7"), 2, "--batch-size must be even"),
        (("scaling", "--batch-size=7"), 2, "--batch-size must be even"),
        (("scaling", "--json=compare"), 2, "--json compare is a folder"),
        (("scaling", "--json=LICENSE/x"), 1, "--json LICENSE/x: File exists"),
        (("devices", "--json=/proc/x"), 1, "--json /proc/x: No such file"),
        (("scaling", "--batch-size=1000"), 1, "too few batches to time"),
    ],
)
def test_what_cannot_be_measured_is_one_line(
    arguments: tuple[str, ...], status: int, message: str
) -> None:
    name, *options = arguments
    result, _, stderr = run_forked(f"compare.{name}", "--dataset=mnist-5k", *options)
    assert (result, len(stderr.splitlines())) == (status, 1)
    assert message in stderr


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux's /proc")
def test_ctrl_c_during_the_imports_of_the_processes_is_quiet(tmp_path: Path) -> None:
    process = start("compare.bench.devices", f"--output-dir={tmp_path}")
    while "libtorch" not in maps_of_children(process.pid):
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    status, _, stderr = finish(process)
    assert (status, stderr) == (130, "")


def maps_of_children(pid: int) -> str:
    """Return what files the children of a process have in their memory."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return "".join(Path("/proc", child, "maps").read_text() for child in children)


@pytest.mark.slow
@pytest.mark.parametrize("name", PARTS)
def test_ctrl_c_during_a_run_is_quiet(name: str, tmp_path: Path) -> None:
    process = start(f"compare.{name}", "--dataset=mnist-5k", f"--output-dir={tmp_path}")
    while len([*tmp_path.rglob("events.*")]) < 2:
        assert process.poll() is None
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    status, _, stderr = finish(process)
    assert status == 130
    assert "Warning" not in stderr, stderr
