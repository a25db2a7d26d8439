"""Both halves of the lesson metrics compute and write the same, whatever the kind."""

import csv
import importlib
import re
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2
from torchmetrics import RunningMean

from lightning.metrics import LitMeasuredAutoEncoder
from plain_pytorch.metrics import PlainMeasuredAutoEncoder
from shared.options.metrics import MetricsConfig
from shared.options.train import Parser, TrainConfig
from shared.pictures.summaries import write_histograms, write_images
from shared.runtime.command import config_class
from shared.runtime.errors import UsageError
from tests.parity.halves import Ran, assert_same, run_half
from tests.processes import ROOT

HALVES = ("plain_pytorch", "lightning")
METRICS = {
    "train_loss_step",
    "train_loss_running",
    "train_loss_epoch",
    "val_loss",
    "val_psnr",
    "test_loss",
}
FINAL = ("val_loss", "test_loss")
NAMES = [
    f"{part}.{layer}.{kind}"
    for part in ("encoder", "decoder")
    for layer in (0, 2)
    for kind in ("weight", "bias")
]


@pytest.fixture
def config(small: TrainConfig) -> MetricsConfig:
    """Return the options of a run of 48 steps, with a point of the curves every 5."""
    small = replace(small, limit_train_batches=24)
    return MetricsConfig(**vars(small), log_every_n_steps=5)


def run(half: str, config: MetricsConfig) -> tuple[Ran, Path]:
    """Run one half; return what it did, and its folder."""
    run_dir = config.output_dir / half / "metrics" / "version_0"
    return run_half(half, "metrics", config, run_dir), run_dir


def read_events(run_dir: Path) -> EventAccumulator:
    """Return all that a run has written for TensorBoard."""
    everything = dict.fromkeys(("scalars", "images", "histograms", "tensors"), 0)
    return EventAccumulator(str(run_dir), size_guidance=everything).Reload()


def read_pictures(run_dir: Path) -> dict[str, list[tuple[int, Any]]]:
    """Return step and content of every image and histogram."""
    events = read_events(run_dir)
    images = {
        tag: [(event.step, event.encoded_image_string) for event in events.Images(tag)]
        for tag in events.Tags()["images"]
    }
    histograms = {
        tag: [(event.step, event.histogram_value) for event in events.Histograms(tag)]
        for tag in events.Tags()["histograms"]
    }
    return {**images, **histograms}


def read_hparams(run_dir: Path) -> dict[str, Any]:
    """Return what the table of hyper-parameters is made from."""
    return {
        tag: plugin_data_pb2.HParamsPluginData.FromString(content)
        for tag, content in read_events(run_dir).PluginTagToContent("hparams").items()
    }


def read_graph(run_dir: Path, model: type) -> str:
    """Return the graph, with one name for both classes and its nodes numbered anew.

    torch numbers them as it meets the submodules, and the plain half has one metric
    more.
    """
    graph = str(read_events(run_dir).Graph())
    assert f'"{model.__name__}/Sequential[encoder]/Linear[0]/' in graph
    graph = graph.replace(model.__name__, "Model")
    numbers: dict[str, str] = {}
    return re.sub(
        r"(?<=/)\d+(?=\")",
        lambda n: numbers.setdefault(n[0], f"n{len(numbers)}"),
        graph,
    )


def files_of_the_user(run_dir: Path) -> dict[str, bytes]:
    """Return the table and the files of the projector, by name."""
    return {
        str(path.relative_to(run_dir)): path.read_bytes()
        for pattern in ("csv/*.csv", "*.pbtxt", "0*/**/*")
        for path in run_dir.glob(pattern)
        if path.is_file()
    }


def assert_all_same(config: MetricsConfig) -> tuple[Ran, Path]:
    """Run both halves, and fail unless they did and wrote the same."""
    (plain, plain_dir), (lightning, lightning_dir) = (
        run(half, config) for half in HALVES
    )
    assert_same(plain, lightning)
    assert len(files_of_the_user(plain_dir)) == 5
    assert files_of_the_user(plain_dir) == files_of_the_user(lightning_dir)
    tags = read_events(plain_dir).Tags()
    assert tags == read_events(lightning_dir).Tags()
    assert set(tags["scalars"]) == METRICS | {"epoch", "hp/val_loss", "hp/test_loss"}
    pictures, others = read_pictures(plain_dir), read_pictures(lightning_dir)
    assert pictures.keys() == others.keys()
    for tag in pictures:
        assert pictures[tag] == others[tag], tag
    assert read_hparams(plain_dir) == read_hparams(lightning_dir)
    graph = read_graph(plain_dir, PlainMeasuredAutoEncoder)
    assert graph == read_graph(lightning_dir, LitMeasuredAutoEncoder)
    return plain, plain_dir


def read_table(run_dir: Path) -> list[dict[str, str]]:
    """Return the rows of metrics.csv, without what is empty in them."""
    with (run_dir / "csv" / "metrics.csv").open(newline="") as file:
        return [
            {name: cell for name, cell in row.items() if cell}
            for row in csv.DictReader(file)
        ]


def test_both_halves_log_the_same_and_all_of_it(config: MetricsConfig) -> None:
    ran, run_dir = assert_all_same(config)
    curves = {tag: ran.results[tag].tolist() for tag in METRICS}
    steps = {tag: [int(step) for step, _ in points] for tag, points in curves.items()}
    every_fifth = list(range(4, 48, 5))
    assert steps["train_loss_step"] == steps["train_loss_running"] == every_fifth
    assert steps["train_loss_epoch"] == steps["val_loss"] == steps["val_psnr"]
    assert steps["val_loss"] == [23, 47]
    assert steps["test_loss"] == [48]

    pictures = read_pictures(run_dir)
    kinds = ("weights", "gradients")
    names = {f"{kind}/{name}" for kind in kinds for name in NAMES}
    assert set(pictures) == names | {"reconstructions"}
    for points in pictures.values():
        assert [step for step, _ in points] == [23, 47]
        assert points[0][1] != points[1][1]

    table = read_table(run_dir)
    assert len(table) == len(every_fifth) + 2 + 2 + 1
    for tag, points in curves.items():
        rows = [row for row in table if tag in row]
        assert [int(row["step"]) for row in rows] == steps[tag]
        values = torch.tensor([float(row[tag]) for row in rows])
        assert torch.equal(values.double(), torch.tensor(points).double()[:, 1])


def test_the_numbers_are_what_they_are_called(config: MetricsConfig) -> None:
    config = replace(config, log_every_n_steps=1)
    ran, run_dir = run("plain_pytorch", config)
    curves = {tag: ran.results[tag][:, 1] for tag in METRICS}
    losses = curves["train_loss_step"]
    assert len(losses) == len(ran.trace.steps) == 48
    epochs = losses.view(2, 24).mean(dim=1)
    assert curves["train_loss_epoch"].tolist() == pytest.approx(epochs.tolist())
    running = [losses[max(0, i - 19) : i + 1].mean().item() for i in range(48)]
    assert curves["train_loss_running"].tolist() == pytest.approx(running)
    # Of an epoch: the mean of all pixels' squared errors, within 2 from black to white.
    decibels = 10 * torch.log10(4 / curves["val_loss"])
    assert curves["val_psnr"].tolist() == pytest.approx(decibels.tolist())
    data = read_hparams(run_dir)["_hparams_/session_start_info"]
    hparams = data.session_start_info.hparams
    assert {name: hparams[name].number_value for name in hparams} == {
        "hidden_dim": 64,
        "latent_dim": 3,
        "learning_rate": 1e-3,
    }
    final = {name: ran.results[f"hp/{name}"].tolist() for name in FINAL}
    assert final["test_loss"] == [[48, curves["test_loss"].item()]]
    assert final["val_loss"] == [[48, curves["val_loss"].min().item()]]


@pytest.mark.usefixtures("dropout")
def test_same_with_dropout_and_a_short_last_batch(config: MetricsConfig) -> None:
    config = replace(
        config,
        batch_size=300,  # 13 whole batches of 4,000 images, and 100 images
        limit_train_batches=None,
        limit_val_batches=None,
        log_every_n_steps=14,
    )
    ran, _ = assert_all_same(config)
    assert ran.results["train_loss_step"][:, 0].tolist() == [13, 27]


def test_no_metric_is_in_a_checkpoint(config: MetricsConfig) -> None:
    _, run_dir = run("plain_pytorch", replace(config, max_epochs=1))
    checkpoint = torch.load(run_dir / "checkpoints" / "last.ckpt", weights_only=True)
    assert list(checkpoint["state_dict"]) == NAMES


def test_another_window_is_noticed(
    config: MetricsConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = run("plain_pytorch", config)
    window = partial(RunningMean, window=19)
    monkeypatch.setattr("lightning.metrics.RunningMean", lambda **_: window())
    with pytest.raises(AssertionError, match="train_loss_running"):
        assert_same(one, run("lightning", config)[0])


def one_step_late(model: Any, *_: Any) -> None:
    """Write the histograms at another step."""
    if model.trainer.is_last_batch:
        write_histograms(model.logger.experiment, model, model.global_step)


def with_the_sanity_check(model: Any) -> None:
    """Write the images before the training, too."""
    data = model.trainer.datamodule.val_set
    write_images(model.logger.experiment, model, data, model.global_step - 1)


@pytest.mark.parametrize(
    ("hook", "mistake", "said"),
    [
        ("on_train_batch_end", one_step_late, "weights/encoder"),
        ("on_validation_epoch_end", with_the_sanity_check, "reconstructions"),
    ],
)
def test_a_mistake_is_noticed(
    config: MetricsConfig,
    monkeypatch: pytest.MonkeyPatch,
    hook: str,
    mistake: Any,
    said: str,
) -> None:
    monkeypatch.setattr(LitMeasuredAutoEncoder, hook, mistake)
    with pytest.raises(AssertionError, match=said):
        assert_all_same(replace(config, limit_train_batches=6))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU here")
def test_same_on_a_gpu(config: MetricsConfig) -> None:
    assert_all_same(replace(config, accelerator="cuda"))


def test_the_plain_half_needs_no_lightning() -> None:
    code = (
        "import sys, plain_pytorch.metrics; 'pytorch_lightning' in sys.modules and 1/0"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_a_bad_interval_is_refused(small: TrainConfig) -> None:
    for half in HALVES:
        main = importlib.import_module(f"{half}.metrics").main
        with pytest.raises(UsageError, match=r"--log-every-n-steps: .*v>0"):
            Parser("program", config_class(main)).parse_config(
                ["--log-every-n-steps=0"]
            )
