"""Checkpoint files: whatever happens to them, they load bit-equal or with one line."""

import argparse
import io
import os
import pickle
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from shared.checkpoints.rng import get_rng_states, set_rng_states
from shared.checkpoints.whole_files import (
    CheckpointError,
    load_weights,
    read_checkpoint,
    write_checkpoint,
)
from shared.model import AutoEncoder


def make_checkpoint() -> dict[str, Any]:
    """Return a checkpoint like those of the lessons, small."""
    torch.manual_seed(0)
    model = AutoEncoder(4, 2)
    optimizer = torch.optim.Adam(model.parameters())
    model.reconstruction_loss(torch.rand(2, 1, 28, 28)).backward()
    optimizer.step()
    return {
        "epoch": 3,
        "state_dict": model.state_dict(),
        "optimizer_states": [optimizer.state_dict()],
        "rng_states": get_rng_states(),
        "nothing": None,
        "learning_rate": 1e-3,
    }


def content_of(checkpoint: dict[str, Any]) -> bytes:
    """Return bytes that are equal exactly if two checkpoints are."""
    buffer = io.BytesIO()
    torch.save(checkpoint, buffer)
    return buffer.getvalue()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a.ckpt"
    write_checkpoint(path, make_checkpoint())
    return path


def test_what_was_written_is_read(path: Path) -> None:
    assert content_of(read_checkpoint(path)) == content_of(make_checkpoint())


class Payload:
    """Runs code while it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.system, (f"touch '{self.marker}'",)


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def compress(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"0" * 1_000_000)


def save_script(path: Path) -> None:
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), path)


BAD: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: path.unlink(),
    "a folder": replace_by_folder,
    "empty": lambda path: path.write_bytes(b""),
    "one byte": lambda path: path.write_bytes(b"P"),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "half": lambda path: path.write_bytes(path.read_bytes()[:30_000]),
    "random bytes": lambda path: path.write_bytes(random.Random(0).randbytes(5000)),
    "text": lambda path: path.write_text("epoch: 3\n"),
    "a pickle": lambda path: path.write_bytes(pickle.dumps({"state_dict": {}})),
    "another zip": lambda path: zipfile.ZipFile(path, "w").writestr("a.txt", "text"),
    "compressed": compress,
    "a bare state_dict": lambda path: torch.save(make_checkpoint()["state_dict"], path),
    "a whole model": lambda path: torch.save(AutoEncoder(), path),
    "a tensor": lambda path: torch.save(torch.zeros(3), path),
    "weights of text": lambda path: torch.save({"state_dict": {"a": "b"}}, path),
    "no weights": lambda path: torch.save({"state_dict": {}}, path),
    "a program": save_script,
}


@pytest.mark.parametrize("damage", BAD)
@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_a_bad_file_gets_one_clear_line(path: Path, damage: str) -> None:
    BAD[damage](path)
    with pytest.raises(CheckpointError) as error:
        read_checkpoint(path)
    line = str(error.value)
    assert str(path) in line
    assert "\n" not in line
    assert any(way_out in line for way_out in ("take ", "name "))


def mutate(content: bytes, draw: random.Random) -> bytes:
    """Return a file with an accident that happens to files."""
    changed = bytearray(content)
    place, other = draw.randrange(len(changed)), draw.randrange(len(changed))
    match draw.choice(["bit", "bits", "cut", "swap", "zeros", "longer", "directory"]):
        case "bit":
            changed[place] ^= 1 << draw.randrange(8)
        case "bits":
            for _ in range(20):
                changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
        case "cut":
            del changed[place:]
        case "swap":
            changed[place], changed[other] = changed[other], changed[place]
        case "zeros":
            changed[place : place + 512] = bytes(len(changed[place : place + 512]))
        case "longer":
            changed += draw.randbytes(9)
        case "directory":  # the table of contents, at the end, has no checksum
            changed[draw.randrange(-2500, 0)] = draw.randrange(256)
    return bytes(changed)


def test_500_mutated_files_load_equal_or_with_the_one_error(path: Path) -> None:
    draw, content = random.Random(0), path.read_bytes()
    expected = content_of(make_checkpoint())
    refused = 0
    for _ in range(500):
        path.write_bytes(mutate(content, draw))
        try:
            checkpoint = read_checkpoint(path)
        except CheckpointError:
            refused += 1
        else:
            assert content_of(checkpoint) == expected
    assert 300 < refused < 500  # a date in the archive may change unharmed


@pytest.mark.parametrize("force", ["0", "1"])
def test_no_file_runs_code(
    path: Path, force: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", force)
    marker = path.with_name("marker")
    payload = Payload(marker)
    for value in (
        payload,
        {"state_dict": payload},
        make_checkpoint() | {"epoch": payload},
        make_checkpoint() | {"hyper_parameters": {"a": [payload]}},
    ):
        torch.save(value, path)
        with pytest.raises(CheckpointError, match="without running its code"):
            read_checkpoint(path)
    path.write_bytes(pickle.dumps(payload))
    with pytest.raises(CheckpointError):
        read_checkpoint(path)
    assert not marker.exists()
    torch.save(payload, path)
    torch.load(path, weights_only=False)
    assert marker.exists()  # it would have run


@pytest.mark.parametrize(
    "value",
    [
        Path("a"),
        np.float64(1),
        np.zeros(2),
        argparse.Namespace(a=1),
        Payload(Path("a")),
        lambda: None,
        iter([]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_could_not_be_loaded_is_not_saved(path: Path, value: object) -> None:
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match=r"a\.ckpt cannot be written"):
        write_checkpoint(path, make_checkpoint() | {"value": value})
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_saving_needs_no_temporary_folder(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One on another file system makes a rename a copy, which can end half-way."""
    monkeypatch.setenv("TMPDIR", "/nonexistent")
    write_checkpoint(path, {"state_dict": {"a": torch.ones(1)}})
    assert read_checkpoint(path)["state_dict"]["a"] == 1


def test_the_file_and_then_its_folder_reach_the_disk(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[str, int]] = []

    def note(descriptor: int) -> None:
        name = Path(f"/proc/self/fd/{descriptor}").readlink().name
        synced.append((name, path.stat().st_ino))

    before = path.stat().st_ino
    monkeypatch.setattr(os, "fsync", note)
    write_checkpoint(path, make_checkpoint())
    after = path.stat().st_ino
    assert after != before
    # The file under its temporary name, and the folder once it has the new name.
    assert synced == [(".a.ckpt.part", before), (path.parent.name, after)]


def test_a_folder_that_takes_no_file(path: Path) -> None:
    target = path / "b.ckpt"  # below a file
    with pytest.raises(CheckpointError, match=r"be written: (Not a dir|File ex)"):
        write_checkpoint(target, make_checkpoint())


def test_weights_of_another_architecture(path: Path) -> None:
    model = AutoEncoder(5, 2)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    with pytest.raises(CheckpointError) as error:
        load_weights(model, read_checkpoint(path), path)
    assert "encoder.0.weight is (4, 784) in the file and (5, 784)" in str(error.value)
    assert all(
        torch.equal(before[name], now) for name, now in model.state_dict().items()
    )


@pytest.mark.parametrize("key", ["encoder.0.weight", "model.encoder.0.weight"])
def test_weights_that_are_missing_or_left_over(path: Path, key: str) -> None:
    checkpoint = make_checkpoint()
    if key in checkpoint["state_dict"]:
        del checkpoint["state_dict"][key]
    else:
        checkpoint["state_dict"][key] = torch.zeros(1)
    with pytest.raises(CheckpointError, match=f"{key} is .*missing"):
        load_weights(AutoEncoder(4, 2), checkpoint, path)


def test_random_states_come_back() -> None:
    states = get_rng_states()
    drawn = [random.random(), np.random.rand(), torch.rand(1)]
    for function in (random.seed, np.random.seed, torch.manual_seed):
        function(7)
    set_rng_states(states)
    assert [random.random(), np.random.rand(), torch.rand(1)] == drawn
