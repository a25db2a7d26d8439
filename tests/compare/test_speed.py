"""The benchmark: that it times what it says, and the README's part of it."""

import json
import os
import signal
import sys
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch

from compare.bench.machine import describe
from compare.bench.measured import committed
from compare.bench.readme import part
from compare.bench.speed import loading, profile, sizes, startup
from compare.bench.speed.ladder import barebones, stripped
from compare.bench.speed.options import PARTS, WARM_UP, SpeedConfig
from compare.bench.speed.plot import draw
from compare.bench.speed.render import readme_part, render
from compare.bench.speed.tables import RUNGS, aim
from compare.bench.speed.turns import ratio, spread, take_turns
from compare.bench.speed.ways import (
    GPU_CHECK,
    Clock,
    LitModel,
    LoadedData,
    PlainModel,
    arithmetic,
    build,
    lightning_half,
    plain_half,
)
from compare.bench.spread import Spread
from shared.options.train import TrainConfig
from tests.processes import run_forked
from tests.time_limit import time_limit

STEPS = 24


@pytest.fixture
def config(small: TrainConfig) -> SpeedConfig:
    options = vars(small) | {"max_epochs": 1, "limit_train_batches": STEPS}
    return SpeedConfig(**options, rounds=2)


@pytest.fixture
def data(config: SpeedConfig) -> LoadedData:
    data = LoadedData(config)
    data.prepare_data()
    data.setup("fit")
    return data


def test_the_readme_has_the_committed_numbers() -> None:
    """When this fails: python -m compare.bench.speed.render."""
    assert part("speed") == readme_part()


def test_committed_results_say_what_they_are() -> None:
    files = committed("speed")
    assert files
    for file, results in files.items():
        machine = results["machine"]
        assert {"date", "device", "cpu", "cores", "load", "versions"} == {*machine}
        assert {"Python", "torch", "pytorch-lightning"} == {*machine["versions"]}
        assert {*PARTS} <= {*results}
        assert file.with_suffix(".png").exists()
        assert str(machine["date"]) in render(results)


def test_all_ways_take_the_same_steps(data: LoadedData) -> None:
    """Otherwise their times could not be compared."""

    def weights(train: Any, model_class: type[Clock]) -> list[torch.Tensor]:
        model: Any = build(model_class, data.config)
        train(model)
        assert [len(epoch) for epoch in model.epochs] == [STEPS]
        return [*model.parameters()]

    batches = list(islice(data.train_dataloader(), STEPS))
    expected = weights(lambda m: arithmetic(m, batches, False), PlainModel)
    ways: dict[str, tuple[Any, type[Clock]]] = {
        "plain": (lambda m: plain_half(m, data), PlainModel),
        "lightning": (lambda m: lightning_half(m, data), LitModel),
        "stripped": (lambda m: lightning_half(m, data, stripped), LitModel),
        "barebones": (lambda m: lightning_half(m, data, barebones), LitModel),
        "one log": (lambda m: lightning_half(m, data), profile.OneLogModel),
        "no bar": (lambda m: lightning_half(m, data, profile.without_bar), LitModel),
    }
    for name, (train, model_class) in ways.items():
        trained = weights(train, model_class)
        assert all(map(torch.equal, expected, trained)), name


def test_a_training_ends_after_the_steps_asked_for(data: LoadedData) -> None:
    halves: Any = ((plain_half, PlainModel), (lightning_half, LitModel))
    for train, model_class in halves:
        model = build(model_class, data.config, 5)
        train(model, data)
        assert [len(epoch) for epoch in model.epochs] == [5]


def test_each_half_looks_for_a_gpu_its_own_way(
    data: LoadedData, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, str] = {}
    forward = PlainModel.reconstruction_loss

    def note(model: Any, images: Any) -> Any:
        seen[type(model).__name__] = os.environ[GPU_CHECK]
        return forward(model, images)

    for model_class in (PlainModel, LitModel):
        monkeypatch.setattr(model_class, "reconstruction_loss", note)
    plain_half(build(PlainModel, data.config, 2), data)
    lightning_half(build(LitModel, data.config, 2), data)
    assert seen == {"PlainModel": "0", "LitModel": "1"}


def test_a_step_is_the_mean_after_the_warm_up() -> None:
    clock = Clock()
    slow = [(100.0, 10.0), (200.0, 20.0)]
    clock.epochs = [
        [*slow, (300.0, 30.0), (302.0, 31.0)],
        [(312.0, 41.0), (322.0, 42.0), (332.0, 43.0), (336.0, 46.0)],
    ]
    assert clock.sample(2) == {"clock": 3e6, "processor": 2e6, "rest": 1e4}


def test_ways_alternate_and_ratios_are_those_of_rounds() -> None:
    called = []

    def way(name: str, times: list[float]) -> Any:
        def turn() -> dict[str, float]:
            called.append(name)
            return {"clock": times[called.count(name) - 1]}

        return turn

    samples = take_turns({"a": way("a", [1, 10, 2]), "b": way("b", [3, 20, 8])}, 3)
    assert called == ["a", "b"] * 3
    assert ratio(samples, "b", "a", "clock") == (3, 2.5, 3.5, 3)  # of 3, 2 and 4
    assert spread(samples["a"], "clock") == (2, 1.5, 6, 3)


@pytest.mark.parametrize(
    ("taken", "verdict"),
    [
        (Spread(1.1, 1.0, 1.15, 5), "1.10 (1.00 to 1.15), reached"),
        (Spread(1.1, 1.0, 1.16, 5), "1.10 (1.00 to 1.16), too near to tell"),
        (Spread(1.2, 1.15, 1.3, 5), "1.20 (1.15 to 1.30), too near to tell"),
        (Spread(1.2, 1.16, 1.3, 5), "1.20 (1.16 to 1.30), missed"),
    ],
)
def test_an_aim_is_judged_by_the_spread(taken: Spread, verdict: str) -> None:
    assert aim("x", taken, 1.15) == f"x, at most 1.15: {verdict}."


@pytest.mark.parametrize("parameters", [50_000, 20_000_000])
def test_a_model_has_about_the_parameters_asked_for(parameters: int) -> None:
    width = sizes.hidden_dim(parameters)
    assert abs(sizes.count(width) / parameters - 1) < 0.01


def test_the_innermost_listed_function_counts() -> None:
    def look(path: str, function: str, inside: str = "pass") -> str:
        names: dict[str, Any] = {"classify": profile.classify, "sys": sys}
        code = f"def {function}():\n    {inside}\n    return classify(sys._getframe())"
        exec(compile(code, path, "exec"), names)
        return names[function]()

    assert look("/x/torch/optim/adam.py", "step") == "arithmetic"
    assert look("/x/pytorch_lightning/core/module.py", "log") == "self.log: the rest"
    assert (
        look("/x/pytorch_lightning/loops/fit_loop.py", "run") == "loops of the Trainer"
    )
    assert look("/x/callbacks/progress/tqdm_progress.py", "f") == "progress bar"
    assert look("/x/torch/accelerator/__init__.py", "f") == "Adam looks for a GPU"


def every_call(_: int, seconds: float, __: float = 0) -> None:
    """Stand in for the timer: look at the stack at every call of a function.

    How often a timer fires in so few steps depends on the machine and its load.
    """
    handler: Any = signal.getsignal(signal.SIGPROF)

    def look(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            handler(signal.SIGPROF, frame)

    sys.setprofile(look if seconds else None)


def test_the_work_of_both_halves_is_told_apart(
    data: LoadedData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing that the rules name is left out; a plain loop has no Trainer's work."""
    monkeypatch.setattr(signal, "setitimer", every_call)
    longer = data.changed(limit_train_batches=32)  # one of the 12 is logged
    plain = profile.look_at(plain_half, profile.SampledPlain, longer)["seen"]
    lightning = profile.look_at(lightning_half, profile.SampledLit, longer)["seen"]
    names = {name for name, _, _ in profile.RULES}
    either = {"other", "Adam looks for a GPU"}  # depends on how torch was built
    both = {"arithmetic", "check of the loss", "fetching batches", "progress bar"}
    both.add("writing the curves")
    assert {*plain} - either == both | {"the loop itself"}
    assert {*lightning} - either == names - either - {"the loop itself"}


def test_the_timer_looks_while_a_model_trains(data: LoadedData) -> None:
    def train(model: Any, data: LoadedData) -> None:
        batch = next(iter(data.train_dataloader()))
        for batch_idx in range(WARM_UP + 1):
            model.training_step(batch, batch_idx)
        while not model.stacks:  # it looks at this line, some time
            pass
        model.training_step(batch, model.last)

    before = signal.getsignal(signal.SIGPROF)
    with time_limit(60):
        seen = profile.look_at(train, profile.SampledPlain, data)["seen"]
    assert sum(seen.values()) >= 1
    assert signal.getitimer(signal.ITIMER_PROF) == (0, 0)
    assert signal.getsignal(signal.SIGPROF) is before


def test_every_part_is_measured_and_shown(
    data: LoadedData, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sizes, "POINTS", [(50_000, 16)])
    monkeypatch.setattr(
        startup,
        "probe",
        lambda *_: {
            "import": 1.0,
            "first_step": 2.0,
            "memory_imported": 3.0,
            "memory": 4.0,
        },
    )
    monkeypatch.setattr(loading, "WORKERS", (0,))
    two = data.changed(max_epochs=2)
    results: dict[str, Any] = {
        "machine": describe(use_cuda=False),
        "dataset": "mnist-5k",
        "options": {"threads": 1},
        "sizes": sizes.measure(data, 2),
        "startup": startup.measure(data, 2),
        "input": loading.measure(two, 2),
        "profile": profile.measure(data, 2),
    }
    shown = render(json.loads(json.dumps(results)))
    assert results["sizes"][0]["parameters"] < 51_000
    for text in (
        "per image, 0",
        "one self.log a step",
        "imports, s by the clock",
        "| 49,",
    ):
        assert text in shown
    draw(results, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 1000


def test_the_command(config: SpeedConfig, tmp_path: Path) -> None:
    small = TrainConfig(
        **{name: getattr(config, name) for name in TrainConfig.__dataclass_fields__}
    )
    options = ["--parts", "ladder", "--rounds=2", f"--json={tmp_path}/new/a.json"]
    status, stdout, stderr = run_forked(
        "compare.bench.speed", *small.to_arguments(), *options
    )
    assert status == 0, stderr
    assert "the Lightning half as it is" in stdout
    results = json.loads((tmp_path / "new" / "a.json").read_text())
    assert {*results["ladder"]} == {*RUNGS}
    assert all(len(turns) == 2 for turns in results["ladder"].values())
    assert {*results} == {"machine", "dataset", "options", "ladder"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--rounds=1"], "--rounds must be 2 or more"),
        (["--limit-train-batches=5"], "--limit-train-batches must be 22 or more"),
        (["--parts", "ladder", "--plot=x.png"], "--plot draws the part sizes"),
        (["--plot=x.txt"], "--plot must end in"),
        (["--parts", "all"], "--parts"),
    ],
)
def test_a_bad_option_is_one_line(options: list[str], message: str) -> None:
    status, _, stderr = run_forked("compare.bench.speed", *options)
    assert status == 2
    assert message in stderr
    assert len(stderr.splitlines()) == 1


def test_too_few_steps_are_one_line(tmp_path: Path) -> None:
    options = ("--dataset=mnist-5k", "--batch-size=1000", f"--json={tmp_path}/a.json")
    status, _, stderr = run_forked("compare.bench.speed", *options)
    assert (status, len(stderr.splitlines())) == (1, 1)
    assert "an epoch has 4 step(s) and needs 22" in stderr


@pytest.mark.slow
def test_memory_is_that_of_the_half_alone(config: SpeedConfig) -> None:
    """A new process inherits, in `getrusage`, the memory of its parent."""
    ballast = torch.ones(2**29)  # 2 GiB
    halves = ("plain_pytorch", "lightning")
    plain, lightning = (startup.probe(half, config) for half in halves)
    del ballast
    assert plain["memory_imported"] < lightning["memory_imported"] < 2000
    assert all(m["memory_imported"] <= m["memory"] for m in (plain, lightning))
    assert all(0 < m["import"] < m["first_step"] for m in (plain, lightning))
