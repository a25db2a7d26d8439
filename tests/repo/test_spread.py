"""A change of train.py is carried into every lesson, and nothing is lost."""

from pathlib import Path

import pytest

from compare.lessons import spread as spread_module
from compare.lessons.spread import spread
from tests.repo.planted import CLIPPING, TRAIN, commit, plant, run_tool

NEW_TRAIN = TRAIN.replace("save(model)", "save(model, epoch)")
NEW_CLIPPING = CLIPPING.replace("save(model)", "save(model, epoch)")


def test_the_change_of_each_half_goes_into_its_lessons(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commit(plant(tmp_path))
    (tmp_path / "lightning" / "train.py").write_text(NEW_TRAIN)
    assert spread(tmp_path) == 0
    assert (tmp_path / "lightning" / "clipping.py").read_text() == NEW_CLIPPING
    assert (tmp_path / "plain_pytorch" / "clipping.py").read_text() == CLIPPING
    assert capsys.readouterr().out.splitlines() == [
        "unchanged  plain_pytorch/clipping.py",
        "merged     lightning/clipping.py",
    ]
    assert spread(tmp_path) == 0  # once more changes nothing
    assert (tmp_path / "lightning" / "clipping.py").read_text() == NEW_CLIPPING
    assert sorted(path.name for path in (tmp_path / "lightning").iterdir()) == [
        "clipping.py",
        "train.py",
    ]


def test_a_lesson_in_conflict_is_named_and_left_as_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saving = TRAIN.replace("save(model)", "save(model, best=True)")
    commit(plant(tmp_path, saving=saving))
    (tmp_path / "plain_pytorch" / "train.py").write_text(NEW_TRAIN)
    assert spread(tmp_path) == 1
    assert (tmp_path / "plain_pytorch" / "saving.py").read_text() == saving
    assert (tmp_path / "plain_pytorch" / "clipping.py").read_text() == NEW_CLIPPING
    printed = capsys.readouterr().out
    assert "conflict   plain_pytorch/saving.py: left as it was" in printed


def test_a_lesson_follows_the_train_that_it_extends(tmp_path: Path) -> None:
    fabric = TRAIN.replace("Train.", "plain_pytorch/train.py with Fabric.")
    evaluate = '"""No variant of train."""\n'
    commit(plant(tmp_path, fabric=fabric, evaluate=evaluate))
    (tmp_path / "plain_pytorch" / "train.py").write_text(NEW_TRAIN)
    assert spread(tmp_path) == 0
    assert "save(model, epoch)" in (tmp_path / "lightning" / "fabric.py").read_text()
    assert (tmp_path / "plain_pytorch" / "evaluate.py").read_text() == evaluate


def test_a_full_disk_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(plant(tmp_path))
    (tmp_path / "lightning" / "train.py").write_text(NEW_TRAIN)

    def write_half(path: Path, content: bytes) -> int:
        path.open("wb").write(content[: len(content) // 2])
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "write_bytes", write_half)
    monkeypatch.setattr(spread_module, "merge", lambda *_: NEW_CLIPPING.encode())
    with pytest.raises(OSError, match="No space left"):
        spread(tmp_path)
    halves = [tmp_path / "lightning", tmp_path / "plain_pytorch"]
    assert [(half / "clipping.py").read_text() for half in halves] == [CLIPPING] * 2
    assert sum(1 for half in halves for _ in half.iterdir()) == 4


def test_outside_a_clone_it_says_so(tmp_path: Path) -> None:
    process = run_tool(plant(tmp_path), "compare.lessons.spread")
    assert process.returncode == 2
    assert process.stderr.splitlines()[-1].startswith("error: make spread needs")


def test_the_command_s_exit_status(tmp_path: Path) -> None:
    commit(plant(tmp_path))
    assert run_tool(tmp_path, "compare.lessons.spread").returncode == 0
    (tmp_path / "lightning" / "clipping.py").write_text('"""Something else."""\n')
    (tmp_path / "lightning" / "train.py").write_text(NEW_TRAIN)
    process = run_tool(tmp_path, "compare.lessons.spread")
    assert process.returncode == 1
    assert "conflict   lightning/clipping.py" in process.stdout
