"""The lesson accumulation: one step from several batches, the same in both halves."""

from dataclasses import replace

import pytest
import torch

from shared.options.accumulation import Config as AccumulateConfig
from shared.options.train import Config as TrainConfig
from shared.runtime.command import parse_config
from tests.parity.halves import Ran, assert_same, run_half
from tests.parity.planted import plant

HALVES = ("plain_pytorch", "lightning")


@pytest.fixture
def base(small: TrainConfig) -> AccumulateConfig:
    """Return the options of two epochs of 12 batches: windows of 5, 5 and 2."""
    return AccumulateConfig(**vars(small), accumulate_grad_batches=5)


def run_one(half: str, config: AccumulateConfig) -> Ran:
    return run_half(half, "accumulation", config, config.output_dir / half)


def run_both(config: AccumulateConfig) -> tuple[Ran, Ran]:
    plain, lightning = (run_one(half, config) for half in HALVES)
    return plain, lightning


def test_same_and_a_short_last_window_steps(base: AccumulateConfig) -> None:
    plain, lightning = run_both(base)
    assert_same(plain, lightning)
    for ran in (plain, lightning):
        assert [len(step.batch) for step in ran.trace.steps] == [5, 5, 2] * 2
        assert [len(step.loss) for step in ran.trace.steps] == [5, 5, 2] * 2


@pytest.mark.parametrize(("window", "windows"), [(4, [4, 4, 4]), (50, [12])])
def test_same_with_other_windows(
    base: AccumulateConfig, window: int, windows: list[int]
) -> None:
    plain, lightning = run_both(replace(base, accumulate_grad_batches=window))
    assert_same(plain, lightning)
    assert [len(step.batch) for step in plain.trace.steps] == windows * 2


def test_windows_of_one_batch_are_the_lesson_train(
    small: TrainConfig, base: AccumulateConfig
) -> None:
    train = run_half("plain_pytorch", "train", small, small.output_dir / "train")
    one = run_one("plain_pytorch", replace(base, accumulate_grad_batches=1))
    assert_same(train, one)


@pytest.mark.slow
def test_same_on_all_of_the_5000_digits(base: AccumulateConfig) -> None:
    # 4,000 images in 57 batches, the last one of 28: 9 windows of 6, the last of 3.
    config = replace(
        base, batch_size=71, limit_train_batches=None, accumulate_grad_batches=6
    )
    plain, lightning = run_both(config)
    assert_same(plain, lightning)
    assert [len(step.batch) for step in plain.trace.steps[:10]] == [6] * 9 + [3]
    assert len(plain.results["train_loss"]) == 2  # points of the curve


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU here")
def test_same_on_a_gpu(base: AccumulateConfig) -> None:
    assert_same(*run_both(replace(base, accelerator="cuda")))


@pytest.mark.parametrize(
    ("half", "right", "wrong", "first"),
    [
        pytest.param(
            "lightning",
            "accumulate_grad_batches=config.accumulate_grad_batches",
            "accumulate_grad_batches=1",
            "batch at step 0",
            id="no windows",
        ),
        pytest.param(
            "plain_pytorch",
            "(loss / config.accumulate_grad_batches).backward()",
            "loss.backward()",
            "loss at step 0",
            id="a sum instead of a mean",
        ),
        pytest.param(
            "plain_pytorch",
            "(loss / config.accumulate_grad_batches).backward()",
            "(loss / (5 if batch_idx < 10 else 2)).backward()",
            "loss at step 2",
            id="the last window divided by its own length",
        ),
        pytest.param(
            "plain_pytorch",
            "not is_full and batch_idx + 1 < len(train_loader)",
            "not is_full",
            "evaluation at step 1",
            id="no step for the last window",
        ),
        pytest.param(
            "plain_pytorch",
            "if batch_idx % config.accumulate_grad_batches == 0:",
            "if True:",
            "gradient at step 0",
            id="zero_grad before each batch",
        ),
        pytest.param(
            "plain_pytorch",
            "if batch_idx % config.accumulate_grad_batches == 0:",
            "if False:",
            "gradient at step 1",
            id="no zero_grad",
        ),
    ],
)
def test_a_mistake_is_noticed(
    base: AccumulateConfig,
    half: str,
    right: str,
    wrong: str,
    first: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plant(monkeypatch, half, "accumulation", right, wrong)
    with pytest.raises(AssertionError, match=first):
        assert_same(*run_both(base))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--accumulate-grad-batches=0", "must be from 1"),
        ("--accumulate-grad-batches=-4", "must be from 1"),
        ("--accumulate-grad-batches=1.5", "1.5"),
        ("--gradient-clip-val=1", "--gradient-clip-val"),
    ],
)
def test_wrong_options_are_refused(
    arguments: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse_config(AccumulateConfig, "program", arguments=arguments.split())
    assert said in capsys.readouterr().err
