from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules import module as module_hooks
from torch.optim import optimizer as optimizer_hooks
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset

from compare.divergence.difference import compare_runs
from compare.trace.command import trace
from compare.trace.run import Run

DATA = TensorDataset(torch.arange(24.0).view(8, 3) / 10, torch.arange(8) % 2)


def net(*layers: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), *layers, nn.Linear(4, 2))


def batches(size: int = 4, workers: int = 0) -> DataLoader[tuple[Tensor, ...]]:
    return DataLoader(DATA, size, num_workers=workers, generator=torch.Generator())


def train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    forward: Callable[[Tensor], Tensor] | None = None,
    size: int = 4,
    workers: int = 0,
) -> None:
    for x, y in batches(size, workers):
        loss = F.cross_entropy((forward or model)(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def recorded(training: Callable[[], None]) -> Run:
    with trace() as run:
        training()
    return run


def sgd(model: nn.Module) -> torch.optim.SGD:
    return torch.optim.SGD(model.parameters(), 0.1)


def train_plain(workers: int = 0) -> None:
    model = net()
    train(model, sgd(model), workers=workers)


def test_a_step_holds_what_was_trained() -> None:
    model = net()
    optimizer = sgd(model)
    with trace() as run:
        x, y = next(iter(batches()))
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        norm = nn.utils.get_total_norm(
            [p.grad for p in model.parameters() if p.grad is not None]
        )
        optimizer.step()
    (step,) = run.steps
    assert step.loss == (loss.item(),)
    assert step.gradient.norm == norm.item()
    assert step.lr == (0.1,)
    assert step.mode == ("train",)
    assert step.precision == ("float32",)
    assert step.batch[0] is not None
    assert step.batch[0].shape == ((4, 3),)
    assert step.batch[0].mean == (x.mean().item(),)
    assert run.optimizers[0].names == ("0.weight", "0.bias", "1.weight", "1.bias")
    assert run.layers[0].startswith("Linear(in_features=3")


def test_recording_changes_no_number() -> None:
    def final() -> Tensor:
        model = net(nn.Dropout(0.5))
        train(model, sgd(model))
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    untraced = final()
    with trace():
        traced = final()
    assert torch.equal(untraced, traced)


def test_nothing_is_left_behind() -> None:
    hooks = (
        module_hooks._global_forward_pre_hooks,
        module_hooks._global_forward_hooks,
        optimizer_hooks._global_optimizer_pre_hooks,
        optimizer_hooks._global_optimizer_post_hooks,
    )
    before, backward = [len(h) for h in hooks], torch.autograd.backward

    def fail() -> None:
        train_plain()
        raise KeyError("stop")

    with pytest.raises(KeyError):
        recorded(fail)
    assert [len(h) for h in hooks] == before
    assert torch.autograd.backward is backward


def test_calling_the_parts_is_calling_the_model() -> None:
    def by_parts() -> None:
        model = net(nn.ReLU())
        train(
            model,
            sgd(model),
            lambda x: model[2](model[1](model[0](x.view(4, 1, 3)))[:, 0]),
        )
        model.eval()
        with torch.no_grad():
            for x, _ in batches():
                model[2](model[1](model[0](x)))

    def whole() -> None:
        model = net(nn.ReLU())
        train(model, sgd(model))
        model.eval()
        with torch.no_grad():
            for x, _ in batches():
                model(x)

    comparison = compare_runs(recorded(whole), recorded(by_parts))
    assert comparison.first is None
    assert len(comparison.evaluations[2][1]) == 2


def test_a_model_called_after_its_wrapper_is_another_batch() -> None:
    """As a Trainer does that validates through DDP, and tests without it."""
    model = net()
    wrapper = nn.Sequential(model)

    def evaluate() -> None:
        with torch.no_grad():
            wrapper(torch.ones(4, 3))
            model(torch.zeros(4, 3))

    run = recorded(evaluate)
    assert [record.batch.mean for record in run.evaluations if record.batch] == [
        (1.0,),
        (0.0,),
    ]


def test_accumulated_batches_are_one_step() -> None:
    def training() -> None:
        model = net()
        optimizer = sgd(model)
        for x, y in batches(size=2):
            (F.cross_entropy(model(x), y) / 4).backward()
        optimizer.step()

    (step,) = recorded(training).steps
    assert len(step.batch) == len(step.loss) == 4


def test_lbfgs_calls_its_closure_many_times() -> None:
    def training() -> None:
        model = net()
        optimizer = torch.optim.LBFGS(model.parameters(), max_iter=4)
        for x, y in batches():

            def closure(x: Tensor = x, y: Tensor = y) -> Tensor:
                optimizer.zero_grad()
                loss = F.cross_entropy(model(x), y)
                loss.backward()
                return loss

            optimizer.step(closure)

    run = recorded(training)
    assert len(run.steps) == 2
    assert all(len(step.loss) > 1 and len(step.batch) == 1 for step in run.steps)
    assert compare_runs(run, recorded(training)).first is None


def test_two_optimizers_take_turns() -> None:
    def training() -> None:
        one, two = net(), net(nn.Tanh())
        optimizers = [sgd(one), torch.optim.Adam(two.parameters())]
        for x, y in batches():
            for model, optimizer in zip((one, two), optimizers, strict=True):
                loss = F.cross_entropy(model(x), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

    run = recorded(training)
    assert [step.optimizer for step in run.steps] == [0, 1, 0, 1]
    assert compare_runs(run, recorded(training)).first is None


def test_forwards_that_no_backward_used_are_evaluation() -> None:
    """Evaluation without eval() and without no_grad(), between two steps."""

    def training() -> None:
        model = net()
        optimizer = sgd(model)
        train(model, optimizer)
        for x, _ in batches():
            model(x)
        train(model, optimizer)

    run = recorded(training)
    assert [len(step.batch) for step in run.steps] == [1, 1, 1, 1]
    assert [e.after for e in run.evaluations] == [2, 2]
    assert {e.mode for e in run.evaluations} == {"train"}


def test_a_loss_of_two_forwards_has_two_batches() -> None:
    def training() -> None:
        model = net()
        (one, _), (other, _) = batches()
        (model(one) - model(other)).square().mean().backward()
        sgd(model).step()

    (step,) = recorded(training).steps
    assert len(step.batch) == 2


def test_transforms_losses_and_metrics_are_no_models() -> None:
    class Scale(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * 2

    def with_modules() -> None:
        model, criterion, scale = net(), nn.CrossEntropyLoss(), Scale()
        optimizer = sgd(model)
        for x, y in batches():
            optimizer.zero_grad()
            criterion(model(scale(x)), y).backward()
            optimizer.step()

    def without() -> None:
        model = net()
        train(model, sgd(model), lambda x: model(x * 2))

    assert compare_runs(recorded(with_modules), recorded(without)).first is None


def test_layers_run_again_by_backward_are_not_counted() -> None:
    def with_checkpoint() -> None:
        model = net(nn.ReLU())
        train(model, sgd(model), lambda x: checkpoint(model, x, use_reentrant=False))

    def without() -> None:
        model = net(nn.ReLU())
        train(model, sgd(model))

    assert compare_runs(recorded(with_checkpoint), recorded(without)).first is None


def test_workers_are_not_recorded() -> None:
    one, other = recorded(train_plain), recorded(lambda: train_plain(workers=2))
    assert compare_runs(one, other).first is None
    assert len(other.steps) == 2


def test_a_frozen_parameter_has_no_gradient() -> None:
    def training() -> None:
        model = net()
        model[0].requires_grad_(False)
        train(model, sgd(model))

    comparison = compare_runs(recorded(train_plain), recorded(training))
    assert comparison.first is not None
    assert comparison.first.quantity == "gradient"


def test_gradients_without_backward() -> None:
    """Meta-learning and the like set .grad by hand."""

    def training() -> None:
        model = net()
        optimizer = sgd(model)
        for x, y in batches():
            loss = F.cross_entropy(model(x), y)
            grads = torch.autograd.grad(loss, list(model.parameters()))
            for parameter, grad in zip(model.parameters(), grads, strict=True):
                parameter.grad = grad
            optimizer.step()

    run = recorded(training)
    assert [len(step.batch) for step in run.steps] == [1, 1]
    assert [step.loss for step in run.steps] == [(), ()]


@pytest.mark.parametrize("in_place", [False, True])
def test_compiled_models(in_place: bool) -> None:
    """backend="eager" needs no compiler, and goes through the same machinery."""

    def training() -> None:
        torch.compiler.reset()
        model = net()
        if in_place:
            model.compile(backend="eager")
            train(model, sgd(model))
        else:
            train(model, sgd(model), torch.compile(model, backend="eager"))

    comparison = compare_runs(recorded(train_plain), recorded(training))
    assert len(comparison.pairs) == 2
    assert comparison.first is None


def test_a_scaled_loss_that_overflows_skips_its_step() -> None:
    model = net()
    optimizer = sgd(model)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**4)
    with trace() as run:
        for number, (x, y) in enumerate(batches(size=2)):
            loss = F.cross_entropy(model(x), y) * (float("inf") if number == 1 else 1)
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
    assert [len(step.batch) for step in run.steps] == [1, 2, 1]
