"""The cost of a lesson, counted from its diff."""

from pathlib import Path

import pytest

from compare.lessons.costs import Cost, cost, describe, diff, parent, table
from tests.repo.planted import CLIPPING, TRAIN, plant, run_tool


def test_lines_and_places_are_counted(tmp_path: Path) -> None:
    path = plant(tmp_path) / "lightning" / "clipping.py"
    assert cost(path) == Cost(added=2, removed=0, places=1)
    assert describe(path) == "2 lines in 1 place"
    changed = CLIPPING.replace("import torch", "import clip\nimport torch")
    path.write_text(changed.replace("data.loader()", "data.loader(2)"))
    assert cost(path) == Cost(added=4, removed=1, places=3)


def test_lines_that_only_move_to_the_right_cost_nothing(tmp_path: Path) -> None:
    text = TRAIN.replace("    save(model)", "    if config.save:\n        save(model)")
    path = plant(tmp_path, saving=text) / "plain_pytorch" / "saving.py"
    assert cost(path) == Cost(added=1, removed=0, places=1)


def test_the_docstring_is_no_part_of_the_cost(tmp_path: Path) -> None:
    text = TRAIN.replace('"""Train."""', '"""Copy.\n\n\nOf more lines.\n"""')
    path = plant(tmp_path, copy=text) / "plain_pytorch" / "copy.py"
    assert (diff(path), cost(path)) == ("", Cost(0, 0, 0))


def test_a_docstring_can_name_another_parent_or_none(tmp_path: Path) -> None:
    root = plant(
        tmp_path,
        evaluate='"""Evaluate. No variant of train: it trains nothing."""\n\n',
        fabric=TRAIN.replace("Train.", "plain_pytorch/train.py with Fabric."),
    )
    plain, lightning = (root / half for half in ("plain_pytorch", "lightning"))
    assert parent(lightning / "clipping.py") == lightning / "train.py"
    assert parent(lightning / "fabric.py") == plain / "train.py"
    assert parent(lightning / "train.py") is None
    assert parent(lightning / "evaluate.py") is None
    assert describe(lightning / "evaluate.py") == "2 lines in all"
    (lightning / "train.py").write_text("unlike\n")
    assert cost(lightning / "fabric.py") == Cost(0, 0, 0)


def test_the_user_s_settings_of_git_do_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = plant(tmp_path) / "lightning" / "clipping.py"
    settings = tmp_path / "settings"
    settings.write_text("[diff]\n\texternal = false\n\tinterHunkContext = 99\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    path.write_text(CLIPPING.replace("import torch", "import clip\nimport torch"))
    assert cost(path).places == 2


def test_the_table_has_a_row_for_every_lesson(tmp_path: Path) -> None:
    evaluate = '"""No variant of train."""\n'
    _, line, *rows = table(plant(tmp_path, evaluate=evaluate)).splitlines()
    assert not line.strip("|-")
    assert [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows] == [
        [f"[{name}](compare/lessons/{name}.md)", "its idea", costs, costs]
        for name, costs in {
            "train": "26 lines in all",
            "clipping": "2 lines in 1 place",
            "evaluate": "1 lines in all",
        }.items()
    ]


def test_the_command_shows_both_diffs(tmp_path: Path) -> None:
    process = run_tool(plant(tmp_path), "compare.lessons.costs", "clipping")
    plain, lightning = process.stdout.split("in Lightning: ")
    assert plain.startswith("by hand: ")
    for half, text in (("plain_pytorch", plain), ("lightning", lightning)):
        assert "2 lines in 1 place\n" in text
        assert diff(tmp_path / half / "clipping.py") in text
        assert f"+++ b/{half}/clipping.py" in text


def test_a_lesson_that_is_not_there(tmp_path: Path) -> None:
    process = run_tool(plant(tmp_path), "compare.lessons.costs", "typo")
    assert process.returncode == 2
    assert "invalid choice: 'typo'" in process.stderr
