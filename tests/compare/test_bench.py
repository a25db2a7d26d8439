"""The bench measures what it says, and its pages show what was measured."""

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from compare.bench import gpu, ladder, parts, peers, sizes, startup
from compare.bench.halves import build, load
from compare.bench.report import compared, ratios, with_quartiles
from compare.bench.turns import clock, same_as_first, seconds_a_step, take_turns
from plain_pytorch.train import Model
from shared.options.train import Config as TrainConfig
from tests.processes import ROOT, run_forked
from tests.repo.test_makefile import make


@pytest.fixture
def shortest(small: TrainConfig) -> TrainConfig:
    """Return the options of the fewest steps that can be timed."""
    return replace(
        small, max_epochs=1, batch_size=8, limit_train_batches=40, limit_val_batches=1
    )


def test_the_clock_is_read_after_every_20th_step() -> None:
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters())
    with clock() as times:
        for _ in range(65):
            optimizer.step()
    optimizer.step()
    assert len(times) == 3
    assert times == sorted(times)
    assert seconds_a_step([7.0, 9.0, 12.0, 32.0]) == 3 / 20


def test_the_ways_take_turns() -> None:
    calls: list[str] = []

    def way(name: str, seconds: float) -> float:
        calls.append(name)
        return seconds

    samples = take_turns({"a": lambda: way("a", 2.0), "b": lambda: way("b", 3.0)}, 2)
    assert calls == ["a", "b", "a", "b"]
    assert samples == {"a": [2.0, 2.0], "b": [3.0, 3.0]}
    assert ratios(samples, "b", "a") == [1.5, 1.5]


def test_median_quartiles_and_sameness_are_shown() -> None:
    assert with_quartiles([4.0, 1.0, 3.0, 2.0, 5.0], ".1f") == "3.0 (2.0 to 4.0)"
    one, other = torch.tensor([1.0]), torch.tensor([1.0000001])
    same = same_as_first({"a": [one], "b": [one.clone()], "c": [other]})
    assert same == ["a", "b"]
    seconds = {"a": [1e-6, 3e-6], "b": [2e-6, 6e-6], "c": [1e-6, 3e-6]}
    text = compared({"seconds": seconds, "same": same}, "way", "times", "plain")
    assert re.split(r" {2,}", text.splitlines()[2]) == [
        *("b", "4 (3 to 5)", "2.00 (2.00 to 2.00)", "yes")
    ]
    assert text.endswith("no")


def test_every_rung_takes_the_same_steps(shortest: TrainConfig) -> None:
    results = ladder.measure(shortest, rounds=2)
    assert len(results["seconds"]) == 5
    assert results["same"] == list(results["seconds"])
    assert min(map(min, results["seconds"].values())) > 0


@pytest.mark.parametrize("name", peers.PEERS)
def test_a_peer_takes_the_same_steps(name: str, shortest: TrainConfig) -> None:
    module, peer = peers.PEERS[name]
    pytest.importorskip(module, reason="see requirements-peers.txt")
    data = load(shortest)
    weights = {
        "arithmetic": ladder.arithmetic(shortest, data.train_dataloader()),
        name: peers.train(peer, shortest, data),
        "new": build(Model, shortest),
    }
    same = same_as_first({one: [*model.parameters()] for one, model in weights.items()})
    assert same == ["arithmetic", name]


def test_a_peer_that_is_not_installed_is_named(
    shortest: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = {"skorch": ("no_such_module", peers.skorch)}
    monkeypatch.setattr(peers, "PEERS", missing)
    results = peers.measure(shortest, rounds=2)
    assert "skorch" not in results["seconds"]
    assert peers.report(results, "github").endswith("so left out: skorch.")


def test_the_command_writes_what_it_prints(tmp_path: Path) -> None:
    options = ("--parts", "loading", "--rounds", "2", "--steps", "40")
    status, stdout, _ = run_forked(
        "compare.bench", *options, "--dataset=mnist-5k", f"--results={tmp_path}"
    )
    assert status == 0
    results = json.loads((tmp_path / "loading.json").read_text())
    assert parts.show("loading", results, "simple") in stdout
    assert results["same"] == ["whole batches", "image by image"]


def test_the_halves_are_equal_at_every_size(
    shortest: TrainConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sizes, "HIDDEN_DIMS", (2, 8))
    results = sizes.measure(shortest, rounds=2)
    assert [size["same"] for size in results["sizes"]] == [True, True]
    assert results["sizes"][0]["parameters"] < results["sizes"][1]["parameters"]
    sizes.draw(results, tmp_path / "sizes.svg")
    assert sizes.description(results) in (tmp_path / "sizes.svg").read_text()


@pytest.mark.slow
def test_a_process_is_measured_up_to_its_first_step() -> None:
    took = startup.start("lightning.train", "mnist-5k")
    assert 0 < took["import"] < took["first step"]
    assert took["memory"] > 10**8


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--rounds", "1"], "--rounds 1: must be from 2"),
        (["--steps", "39"], "--steps 39: must be from 40"),
        (["--parts", "stairs"], "stairs"),
    ],
)
def test_wrong_options_are_named(options: list[str], said: str) -> None:
    status, _, stderr = run_forked("compare.bench", *options)
    assert status == 2
    assert said in stderr


def test_the_committed_plot_shows_the_committed_sizes() -> None:
    text = sizes.description(parts.read("sizes"))
    assert text in (parts.RESULTS / "sizes.svg").read_text()


def test_a_python_that_lacks_packages_is_told_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu, "NEEDED", ("json", "no_such_module"))
    monkeypatch.setattr(sys, "argv", ["gpu"])
    assert gpu.main() == 1
    assert "lacks no_such_module: put the wheels" in capsys.readouterr().err


def test_a_missing_gpu_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu"])
    with pytest.raises(SystemExit, match="2"):
        gpu.main()
    assert "torch finds no GPU; ACCELERATOR=cpu tries" in capsys.readouterr().err


def test_the_page_shows_the_results_of_a_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "RESULTS", tmp_path / "gpu.json")
    assert gpu.committed() == "No GPU has been at hand yet."
    tests = {"passed": ["test_a", "test_b"], "failed": []}
    results = {"tests": tests, "ladder": parts.read("ladder")}
    (tmp_path / "gpu.json").write_text(json.dumps(results))
    assert gpu.committed() == (
        f"Of the tests, 2 passed and 0 failed.\n\n{parts.committed('ladder')}"
    )


def test_the_results_of_a_gpu_are_not_overwritten_by_those_of_a_cpu() -> None:
    status, _, stderr = run_forked("compare.bench.gpu", "--accelerator", "cpu")
    assert status == 2
    assert "--json must name another file" in stderr


def test_a_command_that_takes_too_long_is_ended(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert gpu.run("timeit", ["-n1", "-r1", "pass"], seconds=60)
    assert not gpu.run("timeit", ["-n1", "import time; time.sleep(60)"], seconds=1)
    assert capsys.readouterr().err == "error: timeit took more than 1 s\n"


@pytest.mark.slow
def test_the_command_for_a_gpu_runs_with_a_cpu_in_its_place(tmp_path: Path) -> None:
    path = tmp_path / "gpu.json"
    options = (f"PYTHON={sys.executable}", "ACCELERATOR=cpu", f"ARGS=--json {path}")
    process = make(ROOT, "gpu", *options)
    assert process.returncode == 0, process.stderr
    results = json.loads(path.read_text())
    assert results["tests"]["succeeded"]
    assert not results["tests"]["failed"]
    assert len(results["tests"]["passed"] + results["tests"]["skipped"]) > 20
    assert len(results["ladder"]["seconds"]) == 5
    switches = results["switches"]
    assert len(switches["same in both"]) == len(switches["seconds"]) / 2
    assert switches["same as none"] == ["none", "fewer logs", "batches in memory"]
