"""Both halves of the lesson loggers write the same, whatever the kind."""

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from lightning.loggers import Model as LightningModel
from shared.data import Batch
from shared.options.train import Config as TrainConfig
from tests.parity.halves import Ran, assert_same, run_half

NAMES = {
    f"{part}.{layer}.{kind}"
    for part in ("encoder", "decoder")
    for layer in (0, 2)
    for kind in ("weight", "bias")
}


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


def read_files(run_dir: Path) -> dict[str, bytes]:
    """Return the table, and the files of the projector."""
    return {
        str(path.relative_to(run_dir)): path.read_bytes()
        for pattern in ("csv/*.csv", "*.pbtxt", "0*/**/*")
        for path in run_dir.glob(pattern)
        if path.is_file()
    }


def assert_all_same(config: TrainConfig) -> tuple[Ran, Path]:
    """Run both halves, and fail unless they did and wrote the same."""
    plain_dir, lightning_dir = config.output_dir / "plain", config.output_dir / "pl"
    plain = run_half("plain_pytorch", "loggers", config, plain_dir)
    lightning = run_half("lightning", "loggers", config, lightning_dir)
    pictures, others = read_pictures(plain_dir), read_pictures(lightning_dir)
    assert pictures.keys() == others.keys()
    for tag in pictures:
        assert pictures[tag] == others[tag], tag
    assert_same(plain, lightning)
    assert read_files(plain_dir) == read_files(lightning_dir)
    assert read_hparams(plain_dir) == read_hparams(lightning_dir)
    graph = str(read_events(plain_dir).Graph())
    assert '"Model/Sequential[encoder]/Linear[0]/' in graph
    assert graph == str(read_events(lightning_dir).Graph())
    return plain, plain_dir


@pytest.mark.usefixtures("dropout")
def test_both_write_the_same_and_all_of_it(
    small: TrainConfig,
) -> None:
    plain, run_dir = assert_all_same(small)

    curves = {tag: plain.results[tag] for tag in ("train_loss", "val_loss")}
    assert curves["train_loss"][:, 0].tolist() == [9, 19]
    assert curves["val_loss"][:, 0].tolist() == [11, 23]

    pictures = read_pictures(run_dir)
    assert len(pictures) == len(NAMES) + 1
    for points in pictures.values():
        assert [step for step, _ in points] == [11, 23]
        assert points[0][1] != points[1][1]

    files = read_files(run_dir)
    for step in ("00011", "00023"):
        labels = files[f"{step}/default/metadata.tsv"].split()
        numbers = files[f"{step}/default/tensors.tsv"].split()
        assert (len(labels), len(numbers)) == (64, 64 * 3)
        assert set(labels) <= {b"%d" % digit for digit in range(10)}
        assert files[f"{step}/default/sprite.png"].startswith(b"\x89PNG")

    table = list(csv.DictReader(files["csv/metrics.csv"].decode().splitlines()))
    assert [row["epoch"] for row in table] == ["0", "0", "1", "1"]
    for tag, curve in curves.items():
        rows = [(float(row["step"]), float(row[tag])) for row in table if row[tag]]
        assert torch.equal(torch.tensor(rows, dtype=torch.float64), curve)

    data = read_hparams(run_dir)["_hparams_/session_start_info"]
    hparams = data.session_start_info.hparams
    assert {name: hparams[name].number_value for name in hparams} == {
        "hidden_dim": 64,
        "latent_dim": 3,
        "learning_rate": 1e-3,
    }
    best = curves["val_loss"][:, 1].min().item()
    assert plain.results["hp/val_loss"].tolist() == [[24, best]]


@pytest.mark.slow
def test_same_with_a_short_last_batch(small: TrainConfig) -> None:
    assert_all_same(
        replace(small, batch_size=300, limit_train_batches=None, limit_val_batches=None)
    )


log_pictures = LightningModel.log_pictures


def one_step_late(
    model: LightningModel, batch: Batch, writer: SummaryWriter, step: int
) -> None:
    log_pictures(model, batch, writer, step + 1)


def in_training_mode(
    model: LightningModel, batch: Batch, writer: SummaryWriter, step: int
) -> None:
    model.train()
    log_pictures(model, batch, writer, step)
    model.eval()


@pytest.mark.usefixtures("dropout")
@pytest.mark.parametrize("mistake", [one_step_late, in_training_mode])
def test_a_mistake_is_noticed(
    small: TrainConfig, monkeypatch: pytest.MonkeyPatch, mistake: Callable[..., None]
) -> None:
    monkeypatch.setattr(LightningModel, "log_pictures", mistake)
    with pytest.raises(AssertionError, match="reconstructions"):
        assert_all_same(replace(small, max_epochs=1, limit_train_batches=6))


def test_pictures_of_the_sanity_check_are_noticed(
    small: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def validation_step(model: Any, batch: Batch, batch_idx: int) -> Tensor:
        images, _ = batch
        loss = model.reconstruction_loss(images)
        model.log("val_loss", loss)
        if batch_idx == 0:
            model.log_pictures(batch, model.logger.experiment, model.global_step - 1)
        return loss

    monkeypatch.setattr(LightningModel, "validation_step", validation_step)
    with pytest.raises(AssertionError, match="reconstructions"):
        assert_all_same(replace(small, max_epochs=1, limit_train_batches=6))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU here")
def test_same_on_a_gpu(small: TrainConfig) -> None:
    assert_all_same(replace(small, accelerator="cuda"))
