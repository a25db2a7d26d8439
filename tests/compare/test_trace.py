"""What the recorder sees of runs of many kinds, in this process."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from compare.divergence import compare
from compare.runs import Run, pair
from compare.trace import Run as Recorded
from compare.trace import trace
from tests.compare.strangers import loop


def steps(run: Recorded) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run.lines if line.startswith('{"step"')]


def evals(run: Recorded) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run.lines if line.startswith('{"eval"')]


def test_nothing_stays_behind_and_no_random_number_is_drawn() -> None:
    before = torch.autograd.backward
    hooks = torch.nn.modules.module._has_any_global_hook
    torch.manual_seed(3)
    loop.main({"dropout": 0.5})
    untraced = torch.get_rng_state()
    torch.manual_seed(3)
    with trace():
        assert hooks()
        loop.main({"dropout": 0.5})
    assert torch.equal(torch.get_rng_state(), untraced)
    assert not hooks()
    assert torch.autograd.backward is before
    with pytest.raises(ZeroDivisionError), trace():
        raise ZeroDivisionError
    assert not hooks()
    assert torch.autograd.backward is before


def test_the_records_hold_what_happened() -> None:
    torch.manual_seed(0)
    model = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    x = torch.ones(4, 3)
    with trace() as run:
        loss = model(x).sum()
        loss.backward()
        optimizer.step()
        model.eval()
        with torch.no_grad():
            output = model(x)
    (step,), (evaluation,) = steps(run), evals(run)
    assert step["loss"] == [loss.item()]
    assert step["lr"] == [0.5]
    assert step["options"][0]["momentum"] == 0.9
    assert step["gradient"]["norm"] == pytest.approx((3 * 4**2 + 4**2) ** 0.5)
    (batch,) = step["batches"]
    assert batch["mode"] == "train"
    assert batch["norm"] == pytest.approx(12**0.5)
    assert batch["shape"] == [4, 3]
    assert evaluation["mode"] == "eval"
    assert evaluation["inputs"] == batch["inputs"]
    assert evaluation["output"]["norm"] == pytest.approx(output.norm().item())
    assert run.trace().header["threads"] == torch.get_num_threads()
    assert run.trace().end == {"end": "finished", "steps": 1, "evals": 1}


def test_accumulation_notes_every_batch_and_loss() -> None:
    with trace() as run:
        loop.main({"accumulate": 3})
    counts = [(len(s["batches"]), len(s["loss"])) for s in steps(run)]
    assert counts == [(3, 3), (2, 2)] * 2


def test_evaluation_with_gradients_on_is_still_evaluation() -> None:
    model = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    with trace() as run:
        for _ in range(2):
            model.train()
            model(torch.ones(4, 3)).sum().backward()
            optimizer.step()
            model.eval()
            for value in range(3):
                model(torch.full((4, 3), float(value)))
    assert [len(step["batches"]) for step in steps(run)] == [1, 1]
    assert [e["norm"] for e in evals(run)] == pytest.approx([0, 12**0.5, 48**0.5] * 2)
    kinds = [line[2:6] for line in run.lines[1:]]
    assert kinds == ["opti", "step", *["eval"] * 3, "step", *["eval"] * 3, 'end"']


def test_lbfgs_calls_its_closure_many_times() -> None:
    def fit(factor: float) -> Recorded:
        torch.manual_seed(0)
        model = nn.Linear(3, 1)
        optimizer = torch.optim.LBFGS(model.parameters(), max_iter=4)
        x = torch.arange(12.0).view(4, 3) / 12

        def closure() -> torch.Tensor:
            optimizer.zero_grad()
            loss = (model(x).tanh() - factor).square().mean()
            loss.backward()
            return loss

        with trace() as run:
            for _ in range(3):
                optimizer.step(closure)  # type: ignore[arg-type]
        return run

    run = fit(1.0)
    assert [s["closures"] == len(s["again"]) + 1 > 1 for s in steps(run)] == [True] * 3
    assert [len(s["loss"]) for s in steps(run)] == [1] * 3
    assert compare(run.trace(), fit(1.0).trace()).divergence is None
    found = compare(run.trace(), fit(2.0).trace()).divergence
    assert found
    assert (found.step, found.quantity) == (0, "loss")


def _adversaries(*, swap: bool = False, third: bool = False) -> Recorded:
    torch.manual_seed(0)
    one, two = nn.Linear(2, 3), nn.Linear(3, 1)
    optimizers = [torch.optim.SGD(m.parameters(), lr=0.1) for m in (one, two)]
    if swap:
        optimizers.reverse()
    spare = nn.Linear(7, 1, bias=False)
    extra = torch.optim.Adam(spare.parameters())
    with trace() as run:
        for value in range(3):
            for optimizer in optimizers:
                optimizer.zero_grad()
                two(one(torch.full((4, 2), float(value)))).sum().backward()
                optimizer.step()
            if third:
                spare(torch.ones(2, 7)).sum().backward()
                extra.step()
    return run


def test_several_optimizers_are_told_apart() -> None:
    run = _adversaries()
    assert [step["optimizer"] for step in steps(run)] == [0, 1] * 3
    assert compare(run.trace(), _adversaries().trace()).divergence is None


def test_an_optimizer_only_one_run_has_is_left_out() -> None:
    other = _adversaries(third=True).trace("other")
    comparison = compare(_adversaries().trace(), other)
    assert comparison.divergence is None
    assert "only other steps Adam over weight: its steps are left out" in " ".join(
        comparison.remarks
    )


def test_optimizers_in_another_turn_are_a_difference() -> None:
    found = compare(_adversaries().trace(), _adversaries(swap=True).trace()).divergence
    assert found
    assert (found.step, found.quantity) == (0, "optimizer")
    assert found.causes[0].name == "other-optimizers"


def test_workers_are_not_recorded_and_change_nothing() -> None:
    with trace() as a:
        loop.main({"epochs": 1})
    with trace() as b:
        loop.main({"epochs": 1, "workers": 1})
    assert len(steps(a)) == len(steps(b)) == 5
    assert compare(a.trace(), b.trace()).divergence is None


def test_activation_checkpointing_calls_modules_again_unseen() -> None:
    from torch.utils.checkpoint import checkpoint

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with trace() as run:
        for _ in range(2):
            checkpoint(model, torch.ones(2, 3), use_reentrant=False).sum().backward()
            optimizer.step()
    assert [len(step["batches"]) for step in steps(run)] == [1, 1]
    assert not evals(run)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["eager", "inductor"])
def test_a_compiled_model_keeps_all_but_its_layers(backend: str) -> None:
    if backend == "inductor" and not shutil.which("g++"):
        pytest.skip("no C++ compiler")

    def fit(*, compiled: bool) -> Recorded:
        torch.manual_seed(0)
        model: Any = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 6))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        if compiled:
            model = torch.compile(model, backend=backend)
        with trace() as run:
            for value in range(4):
                x = torch.arange(12.0).view(2, 6) * value
                optimizer.zero_grad()
                F.mse_loss(model(x), x).backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                model(x)
        return run

    plain, compiled = fit(compiled=False), fit(compiled=True)
    assert [len(step["batches"]) for step in steps(compiled)] == [1] * 4
    assert [step["batches"][0]["mode"] for step in steps(compiled)] == ["train"] * 4
    (evaluation,) = evals(compiled)
    assert evaluation["mode"] == "eval"
    assert "output" in evaluation
    if backend == "eager":
        assert compare(plain.trace(), compiled.trace()).divergence is None
    else:
        # inductor rounds differently, but the parameters are told through its wrapper
        (match,) = pair(plain.trace(), compiled.trace()).matches
        assert match.whole
        assert match.a["names"] != match.b["names"]


def test_a_record_of_a_small_model_is_small(tmp_path: Path) -> None:
    out = tmp_path / "a.trace"
    with trace(out) as run:
        loop.main({"epochs": 20})
    assert run.lines == []
    assert out.stat().st_size / run.recorder.steps < 1000


def test_runs_parse_steps_only_when_asked() -> None:
    with trace() as recorded:
        loop.main({})
    run: Run = pair(recorded.trace(), recorded.trace()).a
    assert all(isinstance(line, str) for line in run.steps)
    assert run.step(3)["step"] == 3
    assert run.options(9) == run.options(0) != []
