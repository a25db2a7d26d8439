"""Both halves of the lesson metrics compute and write the same, whatever the kind."""

import csv
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.graph_pb2 import GraphDef
from tensorboard.plugins.hparams import plugin_data_pb2

from lightning.metrics import LitMeasuredAutoEncoder
from plain_pytorch.metrics import PlainMeasuredAutoEncoder
from shared.config import TrainConfig
from shared.options.metrics import MetricsConfig
from tests.parity.halves import Ran, assert_same, run_half

HALVES = ("plain_pytorch", "lightning")
METRICS = {
    "train_loss_step",
    "train_loss_running",
    "train_loss_epoch",
    "val_loss",
    "val_psnr",
    "test_loss",
    "test_psnr",
}
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


def read_graph(run_dir: Path, model: type) -> GraphDef:
    """Return the graph, without the name of the half's own class."""
    graph = read_events(run_dir).Graph()
    name = model.__name__.encode()
    serialized = str(graph).replace(name.decode(), "Model")
    assert name.decode() in str(graph)
    return serialized


def files_beside_the_logs(run_dir: Path) -> dict[str, bytes]:
    """Return the table and the files of the projector by name."""
    files = {
        str(path.relative_to(run_dir)): path.read_bytes()
        for pattern in ("csv/*.csv", "*.pbtxt", "0*/**/*")
        for path in run_dir.glob(pattern)
        if path.is_file()
    }
    assert len(files) == 5
    return files


def assert_all_same(config: MetricsConfig) -> tuple[Ran, Path]:
    """Run both halves, and fail unless they did and wrote the same."""
    (plain, plain_dir), (lightning, lightning_dir) = (
        run(half, config) for half in HALVES
    )
    assert_same(plain, lightning)
    assert files_beside_the_logs(plain_dir) == files_beside_the_logs(lightning_dir)
    assert read_pictures(plain_dir) == read_pictures(lightning_dir)
    assert read_hparams(plain_dir) == read_hparams(lightning_dir)
    graph = read_graph(plain_dir, PlainMeasuredAutoEncoder)
    assert graph == read_graph(lightning_dir, LitMeasuredAutoEncoder)
    tags = {tuple(read_events(run_dir).Tags().items()) for run_dir in ()}
    assert tags == set()
    return plain, plain_dir
