import json
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compare.divergence import align
from compare.divergence.causes import CAUSES
from compare.divergence.command import main
from compare.divergence.difference import compare_runs
from compare.divergence.remarks import remarks
from compare.divergence.report import as_text, findings
from compare.trace.command import trace, trace_to
from compare.trace.run import Layout, Run, UnusableTraceError
from tests.processes import ROOT


def train(
    steps: int = 4,
    draw: bool = False,
    wrap: Callable[[nn.Module], nn.Module] = lambda net: net,
    evaluate_first: bool = False,
    extra: bool = False,
) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    torch.manual_seed(1)
    model = wrap(net)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    other = nn.Linear(2, 2)
    second = torch.optim.SGD(other.parameters(), 0.1)
    x = torch.ones(4, 3)
    if evaluate_first:
        with torch.no_grad():
            model(x)
    for _ in range(steps):
        loss = F.mse_loss(model(x), torch.zeros(4, 2))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if draw:
            torch.rand(1)
        if extra:
            other(torch.ones(1, 2)).sum().backward()
            second.step()


def recorded(**options: Any) -> Run:
    with trace() as run:
        train(**options)
    return run


NEEDED = {
    "optimizer": (
        *("name", "before", "settings", "groups", "names", "shapes", "tied", "weights"),
    ),
    "step": (
        *("optimizer", "batch", "mode", "precision", "output", "random", "functions"),
        *("loss", "closure", "gradient", "lr", "state", "weights", "buffers"),
    ),
    "start": ("fingerprint",),
    "model": ("layers",),
    "end": ("error",),
}


class Wrapper(nn.Module):
    def __init__(self, net: nn.Module, name: str) -> None:
        super().__init__()
        self.add_module(name, net)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = next(self.children())(x)
        return out


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = []
    for name, steps in (("a", 4), ("b", 4), ("short", 2)):
        paths.append(tmp_path / f"{name}.trace")
        with trace_to(paths[-1], ["loop.py"], Counter()):
            train(steps)
    return paths


def test_same_files(files: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(p) for p in files[:2]]) == 0
    assert (
        capsys.readouterr().out
        == "a.trace and b.trace are the same: 4 steps, 0 evaluation batches.\n"
    )


def test_another_length(files: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(files[0]), str(files[2])]) == 1
    said = capsys.readouterr().out
    assert "first differ at step 2, in the length" in said
    assert "1. stopped-earlier" in said


def test_files_of_one_name_are_told_apart(
    files: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    other = files[0].parent / "port" / files[0].name
    other.parent.mkdir()
    files[2].rename(other)
    main([str(files[0]), str(other)])
    said = " ".join(capsys.readouterr().out.split())
    assert said.startswith(f"{files[0]} and {other} first differ")


def test_json(files: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--json", str(files[0]), str(files[2])]) == 1
    said = json.loads(capsys.readouterr().out)
    assert (said["same"], said["step"], said["quantity"]) == (False, 2, "length")
    assert said["causes"][0]["name"] == "stopped-earlier"
    assert main(["--json", str(files[0]), str(files[1])]) == 0
    assert json.loads(capsys.readouterr().out)["same"] is True


def test_a_cut_last_line_is_a_remark(
    files: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    whole = files[0].read_text()
    files[1].write_text(whole[: whole.index('"step":3') + 30])
    assert main([str(files[0]), str(files[1])]) == 1
    said = capsys.readouterr().out
    assert "first differ at step 3, in the length" in said
    assert "b.trace stops in the middle: the run was killed" in said


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\x80\x00\xff", "is no text"),
        (b"hello\n", "is not a trace"),
        (b'{"format": "another"}\n', "is not a trace"),
        (b"[1, 2]\n", "is not a trace"),
        (b'{"format": "training trace", "version": 99}\n', "has version 99"),
        (b'{"format": "training trace", "version": 3}\n{"kind": 1}\n{}\n', "line 2"),
        (b'{"format": "training trace", "version": 3}\n[]\n{}\n', "line 2"),
        (b'{"format": "training trace", "version": 3}\nnull\n\n', "line 2"),
    ],
)
def test_unusable_files_get_one_clear_line(
    files: list[Path], capsys: pytest.CaptureFixture[str], content: bytes, words: str
) -> None:
    files[1].write_bytes(content)
    with pytest.raises(SystemExit) as refused:
        main([str(files[0]), str(files[1])])
    assert refused.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {files[1]}")
    assert words in said
    assert said.count("\n") == 1


def test_any_damaged_line_is_named(
    files: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    lines = files[0].read_text().splitlines(keepends=True)
    for number in range(1, len(lines)):
        record = json.loads(lines[number])
        for key in record:
            damaged = json.dumps({k: v for k, v in record.items() if k != key}) + "\n"
            files[1].write_text(
                "".join([*lines[:number], damaged, *lines[number + 1 :]])
            )
            if key in ("kind", *NEEDED.get(record["kind"], ())):
                with pytest.raises(SystemExit) as refused:
                    main([str(files[0]), str(files[1])])
                assert refused.value.code == 2
                said = capsys.readouterr().err
                assert f"line {number + 1}" in said or "not compared" in said
            else:
                assert main([str(files[0]), str(files[1])]) == 0


def test_a_missing_file_and_a_folder(
    files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path, words in (
        (tmp_path / "none.trace", "No such file"),
        (tmp_path, "directory"),
    ):
        with pytest.raises(SystemExit) as refused:
            main([str(files[0]), str(path)])
        assert refused.value.code == 2
        assert words in capsys.readouterr().err


def test_the_files_of_ranks_are_pointed_out(
    files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files[0].rename(tmp_path / "x.rank0.trace")
    with pytest.raises(SystemExit):
        main([str(tmp_path / "x.trace"), str(files[1])])
    assert "x.rank0.trace: name the file of one rank" in capsys.readouterr().err


def test_random_state_alone_is_no_difference() -> None:
    comparison = compare_runs(recorded(), recorded(draw=True))
    assert comparison.first is None
    assert "the random generator of torch differs from step 1" in remarks(comparison)[0]


@pytest.mark.parametrize("name", ["model", "module", "_orig_mod", "something_else"])
def test_renamed_parameters_are_matched(name: str) -> None:
    port = recorded(wrap=lambda net: Wrapper(net, name))
    assert port.optimizers[0].names[0] == f"{name}.0.weight"
    comparison = compare_runs(recorded(), port)
    assert comparison.first is None
    assert remarks(comparison) == []


def test_parameters_in_another_order_are_matched() -> None:
    def training(reverse: bool) -> None:
        torch.manual_seed(0)
        net = nn.Linear(3, 3)
        order = list(net.parameters())[:: -1 if reverse else 1]
        optimizer = torch.optim.SGD([{"params": [p]} for p in order], 0.1)
        net(torch.ones(2, 3)).square().sum().backward()
        optimizer.step()

    runs = []
    for reverse in (False, True):
        with trace() as run:
            training(reverse)
        runs.append(run)
    assert runs[1].optimizers[0].names == ("bias", "weight")
    runs[1].steps[0] = replace(runs[1].steps[0], lr=runs[0].steps[0].lr)
    assert compare_runs(*runs).first is None


@pytest.mark.parametrize("swapped", [False, True])
def test_an_extra_optimizer_is_explained(swapped: bool) -> None:
    runs = [recorded(), recorded(extra=True)]
    comparison = compare_runs(*(runs[::-1] if swapped else runs))
    assert comparison.first is not None
    assert comparison.first.quantity == "optimizer"
    assert len(comparison.pairs) == 4
    assert findings(comparison)[0].cause.name == "extra-optimizer"


def test_an_evaluation_before_the_first_step_is_a_remark() -> None:
    comparison = compare_runs(recorded(), recorded(evaluate_first=True))
    assert comparison.first is None
    assert "evaluates 0 batches" in as_text(comparison)


def test_runs_without_training_are_compared_too() -> None:
    def evaluated(offset: int) -> Run:
        with trace() as run, torch.no_grad():
            nn.Linear(2, 2)(torch.ones(3, 2) + offset)
        return run

    first = compare_runs(evaluated(0), evaluated(1)).first
    assert first is not None
    assert (first.step, first.quantity) == (-1, "evaluation")


def test_runs_in_which_nothing_was_seen_are_not_compared() -> None:
    def by_hand() -> None:
        torch.manual_seed(0)
        net = nn.Linear(3, 2)
        for _ in range(2):
            net(torch.ones(4, 3)).square().mean().backward()
            with torch.no_grad():
                for parameter in net.parameters():
                    assert parameter.grad is not None
                    parameter.sub_(0.1 * parameter.grad)
                net(torch.ones(4, 3))

    with trace() as empty:
        pass
    with trace() as hand:
        by_hand()
    assert len(hand.evaluations) == 2
    for one, other in ((empty, empty), (hand, hand), (recorded(), hand)):
        with pytest.raises(UnusableTraceError, match="no optimizer step was seen"):
            compare_runs(one, other)


def test_nan_is_the_same_as_nan_and_minus_zero_is_not_zero() -> None:
    run, other = recorded(), recorded()
    nan = replace(run.steps[2], loss=(float("nan"),))
    run.steps[2] = other.steps[2] = nan
    assert compare_runs(run, other).first is None
    run.steps[2] = replace(nan, loss=(0.0,))
    other.steps[2] = replace(nan, loss=(-0.0,))
    first = compare_runs(run, other).first
    assert first is not None
    assert (first.step, first.quantity, first.a, first.b) == (2, "loss", "0.0", "-0.0")


def test_a_hundred_thousand_steps_fit(tmp_path: Path) -> None:
    path = tmp_path / "a.trace"
    with trace_to(path, ["loop.py"], Counter()):
        train(50)
    lines = path.read_text().splitlines()
    steps = [line for line in lines if '"kind":"step"' in line]
    assert len(steps) == 50
    assert max(map(len, steps)) < 1800


def test_every_cause_refers_to_a_lesson() -> None:
    lessons = {path.stem for path in (ROOT / "plain_pytorch").glob("[!_]*.py")}
    assert {cause.lesson for cause in CAUSES} <= lessons


@pytest.mark.parametrize("side", [0, 1])
def test_a_run_without_xxhash_is_compared_by_its_losses(side: int) -> None:
    runs = [recorded(), recorded()]
    runs[side].start["fingerprint"] = "blake2b"
    with pytest.raises(UnusableTraceError, match="the weights were not compared"):
        compare_runs(*runs)
    runs[0].steps[1] = replace(runs[0].steps[1], loss=(0.5,))
    first = compare_runs(*runs).first
    assert first is not None
    assert (first.step, first.quantity) == (1, "loss")


def test_an_error_of_ours_is_no_difference(
    files: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def broken(*_: object) -> None:
        raise KeyError("torch")

    monkeypatch.setattr("compare.divergence.command.compare_runs", broken)
    assert main([str(p) for p in files[:2]]) == 2
    assert "KeyError" in capfd.readouterr().err


def test_a_closed_pipe_is_no_difference(files: list[Path]) -> None:
    command = [sys.executable, "-m", "compare.divergence", str(files[0]), str(files[2])]
    compare = shlex.join(command)
    code = f"(sleep 0.2; {compare}; echo $? >&2) | true"
    done = subprocess.run(
        ["bash", "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stderr == "error: nobody reads the answer\n2\n"


def test_the_causes_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--causes"]) == 0
    listed = capsys.readouterr().out
    assert all(cause.name in listed for cause in CAUSES)


def test_zeros_are_told_from_none() -> None:
    def training(zeros: bool) -> Run:
        with trace() as run:
            torch.manual_seed(0)
            net = nn.ModuleList([nn.Linear(3, 2), nn.Linear(3, 2)])
            optimizer = torch.optim.SGD(net.parameters(), 0.1)
            if zeros:
                for parameter in net[1].parameters():
                    parameter.grad = torch.zeros_like(parameter)
            net[0](torch.ones(4, 3)).square().mean().backward()
            optimizer.step()
        return run

    comparison = compare_runs(training(True), training(False))
    assert comparison.first is not None
    assert comparison.first.quantity == "gradient"
    assert "is None in run, zeros in the other" in findings(comparison)[0].because


def test_several_optimizers_are_named() -> None:
    def training(momentum: float) -> Run:
        with trace() as run:
            torch.manual_seed(0)
            nets = nn.Linear(3, 2), nn.Linear(2, 3)
            optimizers = [
                torch.optim.SGD(nets[0].parameters(), 0.1),
                torch.optim.SGD(nets[1].parameters(), 0.1, momentum=momentum),
            ]
            for _ in range(3):
                for net, optimizer in zip(nets, optimizers, strict=True):
                    optimizer.zero_grad()
                    net(torch.ones(4, net.in_features)).square().mean().backward()
                    optimizer.step()
        return run

    said = as_text(compare_runs(training(0.0), training(0.9)))
    assert "at step 3 (step 1 of optimizer 1, the SGD of weight)" in said


def test_remarks_look_at_each_step_a_few_times() -> None:
    looks = Counter[str]()

    class Counted(dict[str, str]):
        def get(self, name: str, default: Any = None) -> Any:
            looks[name] += 1
            return super().get(name, default)

    run = recorded()
    step = replace(run.steps[0], random=Counted(run.steps[0].random))
    run.steps = [step] * 1000
    comparison = compare_runs(run, run)
    assert remarks(comparison) == []
    assert looks["torch"] < 10 * len(run.steps)


def test_the_same_layouts_are_matched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run has thousands of steps, and may make a new optimizer in every epoch."""
    calls = []
    by_name = align._by_name

    def counted(*layouts: Layout) -> list[tuple[int, int]]:
        calls.append(layouts)
        return by_name(*layouts)

    def training() -> Run:
        with trace() as run:
            torch.manual_seed(0)
            net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
            for _ in range(6):
                optimizer = torch.optim.SGD(net.parameters(), 0.1)
                net(torch.rand(8, 3)).square().mean().backward()
                optimizer.step()
        return run

    monkeypatch.setattr(align, "_by_name", counted)
    align._match.cache_clear()
    assert compare_runs(training(), training()).first is None
    assert len(calls) == 2  # of the parameters, and of the buffers


def test_rows_in_another_order_are_no_rounding() -> None:
    """Their norm is the same, and so are the first values."""

    def training(order: list[int]) -> Run:
        with trace() as run:
            torch.manual_seed(0)
            net = nn.Linear(3, 2)
            optimizer = torch.optim.SGD(net.parameters(), 0.1)
            net(torch.arange(24.0).view(8, 3)[order]).square().mean().backward()
            optimizer.step()
        return run

    comparison = compare_runs(
        training([0, 1, 2, 3, 4, 5, 6, 7]), training([0, 1, 2, 3, 4, 5, 7, 6])
    )
    assert findings(comparison)[0].cause.name == "other-order"
    assert "last bits" not in as_text(comparison)
