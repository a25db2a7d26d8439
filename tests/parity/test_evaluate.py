"""From either half's checkpoint, both halves compute and write the same."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn

import lightning.evaluate
import plain_pytorch.evaluate
from shared.data import Batch, MNISTData
from shared.model import AutoEncoder
from shared.options.common import RunConfig
from shared.options.evaluate import Config as EvaluateConfig
from shared.options.train import Config as TrainConfig
from tests.parity.halves import Ran, assert_same, run_half

HALVES = ("plain_pytorch", "lightning")
PICTURES = {"embeddings.png", "reconstructions.png", "image.png"}


def train(half: str, config: TrainConfig) -> Path:
    """Return the best checkpoint of a run of one half."""
    run_dir = config.output_dir / "train" / half / "version_0"
    run_half(half, "train", config, run_dir)
    return run_dir / "checkpoints" / "best.ckpt"


def evaluate_config(small: TrainConfig, ckpt_path: Path) -> EvaluateConfig:
    """Return the options of an evaluation of a few batches of the same digits."""
    shared = {option.name: getattr(small, option.name) for option in fields(RunConfig)}
    return EvaluateConfig(
        **shared, ckpt_path=ckpt_path, limit_test_batches=3, limit_predict_batches=2
    )


def evaluate(half: str, config: EvaluateConfig, name: str = "") -> tuple[Ran, Path]:
    """Run one half; return what it did, and its folder."""
    run_dir = config.output_dir / "evaluate" / half / f"version_{name}"
    return run_half(half, "evaluate", config, run_dir), run_dir


def read_events(run_dir: Path) -> dict[str, list[tuple[int, Any]]]:
    """Return the steps and values of every scalar and image in TensorBoard."""
    events = EventAccumulator(str(run_dir), size_guidance={"images": 0}).Reload()
    tags = events.Tags()
    scalars = {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in tags["scalars"]
        if tag != "epoch"  # Lightning adds it
    }
    images = {
        tag: [(event.step, event.encoded_image_string) for event in events.Images(tag)]
        for tag in tags["images"]
    }
    return {**scalars, **images}


def files_of_the_user(run_dir: Path) -> dict[str, bytes]:
    """Return every file of a run by name, but for the logs that are each half's own."""
    return {
        str(path.relative_to(run_dir)): path.read_bytes()
        for path in run_dir.rglob("*")
        if path.is_file()
        and not path.name.startswith("events.")
        and path.name != "hparams.yaml"
    }


def assert_all_same(
    one: Ran, one_dir: Path, other: Ran, other_dir: Path, pictures: set[str]
) -> None:
    """Fail unless two evaluations computed, wrote and logged the same."""
    assert_same(one, other)
    files = files_of_the_user(one_dir)
    assert set(files) == pictures | {"embeddings.npz"}
    assert files == files_of_the_user(other_dir)
    events = read_events(one_dir)
    assert set(events) == {"test_loss"} | {Path(name).stem for name in pictures}
    assert events == read_events(other_dir)


def test_either_half_takes_either_half_s_checkpoint(small: TrainConfig) -> None:
    runs = []
    for trained_by in HALVES:
        image = small.data_dir / "one.png"
        image.parent.mkdir(exist_ok=True)
        save_stroke(image)
        config = evaluate_config(small, train(trained_by, small))
        config = replace(config, image=image)
        runs += [evaluate(half, config, trained_by) for half in HALVES]
    first, *others = runs
    # Three batches are tested, two predicted, and one with the image of our own.
    assert len(first[0].trace.evaluations) == 6
    for other in others:
        assert_all_same(*first, *other, PICTURES)


def save_stroke(path: Path) -> None:
    """Write an image file of a dark stroke on bright paper."""
    pixels = np.full((90, 50), 240, dtype=np.uint8)
    pixels[20:70, 22:28] = 20
    Image.fromarray(pixels).save(path)


def test_predictions_are_those_of_the_test_images(small: TrainConfig) -> None:
    config = replace(
        evaluate_config(small, train("plain_pytorch", small)),
        num_workers=2,
        batch_size=48,  # does not divide 500: the last batch is a short one
        limit_test_batches=None,
        limit_predict_batches=None,
    )
    runs = [evaluate(half, config) for half in HALVES]
    assert_all_same(*runs[0], *runs[1], PICTURES - {"image.png"})

    checkpoint = torch.load(config.ckpt_path, weights_only=True)  # type: ignore[arg-type]
    model = AutoEncoder(64, 3)
    model.load_state_dict(checkpoint["state_dict"])
    data = MNISTData(config)
    data.setup("test")
    embeddings, labels, losses = [], [], []
    with torch.no_grad():
        for images, digits in data.test_dataloader():
            embeddings.append(model(images))
            labels.append(digits)
            losses.append(model.reconstruction_loss(images).item() * len(images))
    results = runs[0][0].results
    assert len(results["labels"]) == 500
    assert torch.equal(results["embeddings"], torch.cat(embeddings))
    assert torch.equal(results["labels"], torch.cat(labels))
    assert results["embeddings"].dtype == torch.float32
    assert results["labels"].dtype == torch.int64
    assert results["test_loss"][0, 1] == pytest.approx(sum(losses) / 500)


@pytest.mark.parametrize("latent_dim", [1, 2, 16])
def test_same_with_other_sizes(small: TrainConfig, latent_dim: int) -> None:
    small = replace(small, latent_dim=latent_dim, hidden_dim=5, max_epochs=1)
    config = evaluate_config(small, train("lightning", small))
    config = replace(config, limit_predict_batches=1, limit_test_batches=1)
    (plain, plain_dir), (lightning, lightning_dir) = (
        evaluate(half, config) for half in HALVES
    )
    assert plain.results["embeddings"].shape == (64, latent_dim)
    pictures = PICTURES - {"image.png"}
    assert_all_same(plain, plain_dir, lightning, lightning_dir, pictures)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU here")
def test_same_on_a_gpu(small: TrainConfig) -> None:
    config = evaluate_config(small, train("plain_pytorch", small))
    runs = [evaluate(half, replace(config, accelerator="cuda")) for half in HALVES]
    assert_all_same(*runs[0], *runs[1], PICTURES - {"image.png"})


def with_other_weights(patch: pytest.MonkeyPatch) -> None:
    """Forget to load the weights by hand."""
    patch.setattr(
        plain_pytorch.evaluate.Model, "load_state_dict", lambda model, weights: None
    )


def in_training_mode(patch: pytest.MonkeyPatch) -> None:
    """Put dropout into the shared model, and forget the evaluation mode by hand."""
    init = AutoEncoder.__init__

    # load_from_checkpoint passes those hyper-parameters that are named here.
    def init_with_dropout(self: AutoEncoder, hidden_dim: int, latent_dim: int) -> None:
        init(self, hidden_dim, latent_dim)
        self.encoder.append(nn.Dropout(0.2))

    patch.setattr(AutoEncoder, "__init__", init_with_dropout)
    patch.setattr(plain_pytorch.evaluate.Model, "eval", lambda model: model)


def with_other_labels(patch: pytest.MonkeyPatch) -> None:
    """Let the labels of one half be those of the images before."""
    predict_step = lightning.evaluate.Model.predict_step

    def predict_others(
        model: lightning.evaluate.Model, batch: Batch, index: int
    ) -> tuple[Tensor, ...]:
        images, labels, *others = predict_step(model, batch, index)
        return images, labels.roll(1), *others

    patch.setattr(lightning.evaluate.Model, "predict_step", predict_others)


def with_other_reconstructions(patch: pytest.MonkeyPatch) -> None:
    """Let one half's decoder be a last bit off, which no picture shows."""
    predict_step = plain_pytorch.evaluate.Model.predict_step

    def predict_nearly(
        model: plain_pytorch.evaluate.Model, batch: Batch, index: int
    ) -> tuple[Tensor, ...]:
        bias: Tensor = model.decoder[2].bias  # type: ignore[assignment]
        bias.copy_(bias.nextafter(torch.tensor(torch.inf)))
        return predict_step(model, batch, index)

    patch.setattr(plain_pytorch.evaluate.Model, "predict_step", predict_nearly)


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        (with_other_weights, "evaluation at step -1"),
        (in_training_mode, "evaluation at step -1"),
        (with_other_labels, "embeddings, step 0"),  # the colors of the points
        (with_other_reconstructions, "evaluation at step -1"),
    ],
)
def test_a_mistake_is_noticed(
    small: TrainConfig, monkeypatch: pytest.MonkeyPatch, mistake: Any, said: str
) -> None:
    config = evaluate_config(small, train("plain_pytorch", small))
    mistake(monkeypatch)
    with pytest.raises(AssertionError, match=said):
        assert_same(*(evaluate(half, config)[0] for half in HALVES))
