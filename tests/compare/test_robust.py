"""Recording breaks no script, and says what it could not see."""

import os
import sys
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm
from torch.utils.checkpoint import checkpoint

from compare.divergence.difference import Comparison, compare_runs
from compare.divergence.remarks import remarks
from compare.divergence.report import findings
from compare.trace.command import trace, trace_to
from compare.trace.run import Run, UnusableTraceError, read_trace


def recorded(training: Callable[[], object]) -> Run:
    torch.manual_seed(0)
    with trace() as run:
        training()
    return run


def twice(training: Callable[[], object]) -> Comparison:
    return compare_runs(recorded(training), recorded(training))


def fit(model: nn.Module, *inputs: Any, steps: int = 3, **named: Any) -> None:
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        model(*inputs, **named).square().mean().backward()
        optimizer.step()


class Graph(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, adjacency: Tensor, x: Tensor) -> Tensor:
        out: Tensor = self.layer(adjacency @ x)
        return out


@pytest.mark.parametrize("layout", ["coo", "csr"])
def test_sparse_inputs(layout: str) -> None:
    def training(scale: float) -> None:
        eye = torch.eye(7) * scale
        fit(Graph(), eye.to_sparse() if layout == "coo" else eye.to_sparse_csr(), x)

    x = torch.randn(7, 4)
    assert twice(lambda: training(1.0)).first is None
    first = compare_runs(
        recorded(lambda: training(1.0)), recorded(lambda: training(2.0))
    ).first
    assert first is not None
    assert first.quantity == ("batch" if layout == "coo" else "loss")


def test_what_was_not_seen_is_said_once(capfd: pytest.CaptureFixture[str]) -> None:
    x = torch.randn(7, 4)
    run = recorded(lambda: fit(Graph(), torch.eye(7).to_sparse_csr(), x))
    assert len(run.steps) == 3
    assert len(run.unseen) == 1
    assert capfd.readouterr().err.count("\n") == 1
    assert "not seen in run" in remarks(compare_runs(run, run))[0]


def test_gradients_of_torch_func_are_no_steps() -> None:
    model, x = nn.Linear(3, 1), torch.randn(5, 3)
    weights = {name: p.detach() for name, p in model.named_parameters()}

    def loss(weights: dict[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(model, weights, (x,)).square().mean()

    run = recorded(lambda: vmap(grad(loss), (None, 0))(weights, x))
    with pytest.raises(UnusableTraceError, match=r"torch\.func"):
        compare_runs(run, run)


def test_a_wrong_extra_repr_and_an_optimizer_without_lr() -> None:
    class Act(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.relu()

        def extra_repr(self) -> str:
            return f"{self.slope}"

    class Own(torch.optim.Optimizer):
        @torch.no_grad()
        def step(self) -> None:  # type: ignore[override]
            for group in self.param_groups:
                for parameter in group["params"]:
                    parameter -= group["size"] * parameter.grad

    def training() -> None:
        model = nn.Sequential(nn.Linear(3, 4), Act(), nn.Linear(4, 1))
        optimizer = Own(model.parameters(), {"size": 0.1})
        for _ in range(2):
            optimizer.zero_grad()
            model(torch.randn(8, 3)).square().mean().backward()
            optimizer.step()

    assert twice(training).first is None


@dataclass
class Output:
    z: Tensor


class Encoder(nn.Linear):
    def forward(self, x: Tensor) -> Output:  # type: ignore[override]
        return Output(super().forward(x))


def test_outputs_in_dataclasses_and_reentrant_checkpoints_are_training() -> None:
    def dataclasses() -> None:
        model = Encoder(3, 4)
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        a, b = torch.randn(2, 8, 3)
        (model(a).z - model(b).z).square().mean().backward()
        optimizer.step()

    def reentrant() -> None:
        body, head = nn.Linear(3, 4), nn.Linear(4, 1)
        optimizer = torch.optim.SGD([*body.parameters(), *head.parameters()], 0.1)
        x = torch.randn(8, 3, requires_grad=True)
        hidden = checkpoint(body, x, use_reentrant=True)
        head(hidden).square().mean().backward()
        optimizer.step()

    for training, batches in ((dataclasses, 2), (reentrant, 1)):
        run = recorded(training)
        assert run.evaluations == []
        assert len(run.steps[0].batch) == batches


def test_parametrized_weights_are_no_batch() -> None:
    run = recorded(lambda: fit(weight_norm(nn.Linear(3, 4)), torch.ones(2, 3)))
    batch = run.steps[0].batch[0]
    assert batch is not None
    assert batch.shape == ((2, 3),)
    assert run.steps[0].mode == ("train",)


def test_named_and_nested_inputs_are_the_batch() -> None:
    class Rating(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 2)

        def forward(self, user: Tensor, more: dict[str, Any]) -> Tensor:
            out: Tensor = self.layer(user) * self.layer(more["item"][0])
            return out

    def training(named: bool, item: float) -> None:
        user, more = torch.ones(4, 3), {"item": [torch.full((4, 3), item)]}
        if named:
            fit(Rating(), more=more, user=user)
        else:
            fit(Rating(), user, more)

    same = recorded(lambda: training(False, 1.0)), recorded(lambda: training(True, 1.0))
    assert compare_runs(*same).first is None
    first = compare_runs(same[0], recorded(lambda: training(True, 2.0))).first
    assert first is not None
    assert (first.step, first.quantity) == (0, "batch")


def test_a_thread_is_said_to_be_left_out(capfd: pytest.CaptureFixture[str]) -> None:
    def training() -> None:
        thread = threading.Thread(target=fit, args=(nn.Linear(3, 1), torch.ones(2, 3)))
        thread.start()
        thread.join()

    run = recorded(training)
    assert "another thread" in capfd.readouterr().err
    with pytest.raises(UnusableTraceError, match="another thread"):
        compare_runs(run, run)


def test_a_forked_child_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.trace"
    with trace_to(path, [], Counter()):
        fit(nn.Linear(3, 1), torch.ones(2, 3))
        child = os.fork()
        if not child:
            try:
                fit(nn.Linear(3, 1), torch.ones(2, 3))
            finally:
                os._exit(0)
        os.waitpid(child, 0)
    assert len(read_trace(path).steps) == 3


@pytest.mark.parametrize("status", [0, None, 3])
def test_only_a_failing_exit_is_a_crash(tmp_path: Path, status: int | None) -> None:
    path = tmp_path / "a.trace"
    with pytest.raises(SystemExit), trace_to(path, [], Counter()):
        sys.exit(status)
    assert bool(read_trace(path).crashed) is bool(status)


def test_numbers_of_optimizers_are_never_reused() -> None:
    def training() -> None:
        for size in (1, 2, 3):
            fit(nn.Linear(3, size), torch.ones(2, 3), steps=1)

    run = recorded(training)
    assert [step.optimizer for step in run.steps] == [0, 1, 2]
    assert [o.shapes[0] for o in run.optimizers] == [(1, 3), (2, 3), (3, 3)]


def test_a_group_that_is_added_is_not_a_lost_state() -> None:
    def training() -> None:
        one, two = nn.Linear(3, 3), nn.Linear(3, 3)
        optimizer = torch.optim.Adam(one.parameters(), 0.1)
        for step in range(4):
            if step == 2:
                optimizer.add_param_group({"params": two.parameters()})
            optimizer.zero_grad()
            two(one(torch.ones(2, 3))).square().mean().backward()
            optimizer.step()

    comparison = twice(training)
    assert comparison.first is None
    assert [o.before for o in comparison.a.optimizers] == [None, 0]


def test_scripted_and_pickled_losses_still_work() -> None:
    import pickle

    def loss(x: Tensor, y: Tensor) -> Tensor:
        return F.mse_loss(x, y)

    with trace():
        scripted = torch.jit.script(loss)
        assert scripted(torch.ones(2), torch.zeros(2)) == 1
        assert pickle.loads(pickle.dumps(F.mse_loss)) is F.mse_loss
        model = nn.Sequential(nn.Linear(3, 2))
        scripted_model = torch.jit.script(model)
        fit(scripted_model, torch.ones(2, 3))
    assert not hasattr(F.mse_loss, "__wrapped__")


def test_memory_does_not_grow_without_steps() -> None:
    from compare.trace import recorder

    kept = recorder.Recorder(lambda record: None)
    model = nn.Linear(2, 1)
    recorder._WAITING, before = 8, recorder._WAITING
    kept.start()
    try:
        for _ in range(30):
            model(torch.ones(1, 2)).sum().backward()
            model(torch.ones(1, 2))
    finally:
        recorder._WAITING = before
        waiting = len(kept._undecided), len(kept._training), len(kept._losses)
        kept.stop()
    assert max(waiting) <= 8


LAYERS = st.sampled_from(["Linear", "Dropout", "BatchNorm1d", "ReLU", "LayerNorm"])
OPTIMIZERS = st.sampled_from(["SGD", "Adam", "AdamW", "RMSprop", "LBFGS", "Adagrad"])


@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(
    models=st.lists(st.lists(LAYERS, max_size=4), min_size=1, max_size=3),
    shared=st.booleans(),
    names=st.lists(OPTIMIZERS, min_size=3, max_size=3),
    evaluate=st.booleans(),
    loss=st.sampled_from(["mse_loss", "l1_loss", "huber_loss"]),
)
def test_a_trace_is_the_same_as_itself(
    models: list[list[str]], shared: bool, names: list[str], evaluate: bool, loss: str
) -> None:
    def build(kinds: list[str]) -> nn.Sequential:
        layers = [nn.Linear(3, 3)]
        for kind in kinds:
            make: Any = getattr(nn, kind)
            layers.append(
                make(0.5)
                if kind == "Dropout"
                else make()
                if kind == "ReLU"
                else make(3, 3)
                if kind == "Linear"
                else make(3)
            )
        return nn.Sequential(*layers)

    def training() -> None:
        nets = [build(kinds) for kinds in models]
        groups = [list(net.parameters()) for net in nets]
        if shared:  # one optimizer holds everything
            groups.append([p for group in groups for p in group])
        optimizers: list[Any] = [
            getattr(torch.optim, name)(group, lr=0.01)
            for name, group in zip(names * 2, groups, strict=False)
        ]
        for _ in range(2):
            for number, optimizer in enumerate(optimizers):
                net, x = nets[number % len(nets)], torch.randn(4, 3)

                def closure(net: Any = net, x: Tensor = x, o: Any = optimizer) -> Any:
                    o.zero_grad()
                    value = getattr(F, loss)(net(x), torch.zeros(4, 3))
                    value.backward()
                    return value

                optimizer.step(closure)
            if evaluate:
                with torch.no_grad():
                    nets[0](torch.ones(4, 3))

    comparison = twice(training)
    assert comparison.first is None, comparison.first
    assert comparison.pairs
    assert findings(comparison) == []
    assert not any("differ" in line for line in remarks(comparison))
