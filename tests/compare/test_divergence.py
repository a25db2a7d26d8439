"""The two commands, on good files and bad."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from compare.runs import _by_name
from compare.tracefile import TraceError, from_lines

STRANGERS = Path(__file__).parent / "strangers"


def python(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=180,
    )


def record(
    out: Path, script: str, **options: object
) -> subprocess.CompletedProcess[str]:
    path = STRANGERS / script
    return python("-m", "compare.trace", "--out", out, "--", path, json.dumps(options))


def divergence(*arguments: object) -> subprocess.CompletedProcess[str]:
    return python("-m", "compare.divergence", *arguments)


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Traces of the loop, of its port, and of a longer and a sick loop."""
    folder = tmp_path_factory.mktemp("traces")
    for name, script, options in (
        ("loop", "loop.py", {"dropout": 0.3}),
        ("port", "port.py", {"dropout": 0.3, "sanity": True}),
        ("sick", "loop.py", {"dropout": 0.3, "accumulate": 2}),
    ):
        result = record(folder / f"{name}.trace", script, **options)
        assert result.returncode == 0, result.stderr
        assert "trace: " in result.stderr
    return folder


def test_two_scripts_in_real_processes_are_the_same(traced: Path) -> None:
    result = divergence(traced / "loop.trace", traced / "port.trace")
    assert result.returncode == 0, result.stderr
    assert "The runs are the same, bit for bit, in 10 steps and 6 eval" in result.stdout
    assert "only run b evaluates before step 0 (a sanity check?)" in result.stdout


def test_a_difference_is_printed_with_its_causes(traced: Path) -> None:
    result = divergence(traced / "loop.trace", traced / "sick.trace")
    assert (result.returncode, result.stderr) == (1, "")
    assert (
        "The runs differ first at step 0 (counted from 0), in the batch"
        in result.stdout
    )
    assert "1. The steps are made of different numbers of batches" in result.stdout
    assert "Confirm: " in result.stdout
    assert "See: README" in result.stdout


def test_json_says_the_same(traced: Path) -> None:
    result = divergence(traced / "loop.trace", traced / "sick.trace", "--json")
    found = json.loads(result.stdout)
    assert result.returncode == 1
    assert (found["same"], found["step"], found["quantity"]) == (False, 0, "batch")
    assert found["causes"][0]["name"] == "accumulation-window"
    assert {"quantity", "a", "b", "size"} <= found["differences"][0].keys()
    same = divergence(traced / "loop.trace", traced / "port.trace", "--json")
    assert json.loads(same.stdout)["same"] is True


def test_scripts_run_as_python_runs_them(tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "beside.py").write_text("VALUE = 7\n")
    script = folder / "script.py"
    script.write_text(
        "import sys, beside\n"
        "print(__name__, sys.argv, beside.VALUE, sys.modules['__main__'].__file__)\n"
        "sys.exit(5)\n"
    )
    plain = python(script, "--out", "x", "--", "y")
    traced = python(
        *("-m", "compare.trace", "--out", tmp_path / "a", "--"),
        *(script, "--out", "x", "--", "y"),
    )
    assert traced.stdout == plain.stdout
    assert traced.returncode == plain.returncode == 5
    result = divergence(tmp_path / "a", tmp_path / "a")
    assert result.returncode == 2
    assert "has no optimizer step" in result.stderr


def test_a_module_runs_as_python_m_runs_it(tmp_path: Path) -> None:
    arguments = ("-m", "tests.compare.strangers.loop", '{"epochs": 1}')
    result = python("-m", "compare.trace", "--out", tmp_path / "a", "--", *arguments)
    assert result.returncode == 0, result.stderr
    assert "trace: 5 steps, 3 evaluation batches" in result.stderr


def test_a_crash_comes_through_and_leaves_its_steps(
    traced: Path, tmp_path: Path
) -> None:
    script = tmp_path / "crash.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(STRANGERS)!r})\n"
        "import loop\nloop.main({'dropout': 0.3, 'epochs': 1})\nraise KeyError('oh')\n"
    )
    out = tmp_path / "a.trace"
    result = python("-m", "compare.trace", "--out", out, "--", script)
    assert result.returncode == 1
    assert "KeyError: 'oh'" in result.stderr
    compared = divergence(traced / "loop.trace", out)
    assert compared.returncode == 1
    assert "in the length" in compared.stdout
    assert "run b ended with KeyError" in compared.stdout


def test_a_killed_run_leaves_what_was_recorded(traced: Path, tmp_path: Path) -> None:
    out = tmp_path / "killed.trace"
    command = ["-m", "compare.trace", "--out", str(out), "--"]
    script = [str(STRANGERS / "loop.py"), '{"epochs": 1000000, "dropout": 0.3}']
    process = subprocess.Popen(
        [sys.executable, *command, *script], stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not out.exists() or out.read_text().count('{"step"') < 20:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    with out.open("a") as file:
        file.write('{"step":999,"opt')  # as a full disk would leave it
    result = divergence(traced / "loop.trace", out)
    assert "run b was cut off after " in result.stdout
    # the 10 steps of the finished run are the first of the killed one, which goes on
    assert "in the length" in result.stdout
    assert result.returncode == 1
    shorter = tmp_path / "shorter.trace"
    shorter.write_text("".join(out.read_text().splitlines(keepends=True)[:7]))
    assert divergence(traced / "loop.trace", shorter).returncode == 0


def _damaged(good: str) -> dict[str, bytes]:
    lines = good.splitlines(keepends=True)
    return {
        "empty": b"",
        "blank": b"\n\n",
        "foreign": b"epoch,loss\n1,0.5\n",
        "other json": b'{"a": 1}\n',
        "list": b"[1, 2]\n",
        "binary": bytes(range(256)),
        "line lost its head": "".join([*lines[:4], lines[4][9:], *lines[5:]]).encode(),
        "foreign line": "".join([*lines[:4], '{"x": 1}\n', *lines[4:]]).encode(),
        "keys missing": "".join([*lines[:2], '{"step": 0}\n', *lines[3:]]).encode(),
        "wrong type": "".join(
            [*lines[:2], lines[2].replace('"lr":[', '"lr":{"x":['), *lines[3:]]
        ).encode(),
        "newer": good.replace('"version":1', '"version":2', 1).encode(),
    }


@pytest.mark.parametrize("kind", list(_damaged("\n" * 9)))
def test_a_bad_file_is_one_line(
    kind: str, traced: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from compare import divergence as command

    path = tmp_path / "bad.trace"
    good = traced / "loop.trace"
    path.write_bytes(_damaged(good.read_text())[kind])
    for order in ((path, good), (good, path)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["divergence", *map(str, order)])
            with pytest.raises(SystemExit) as exit_:
                command.main()
        stdout, stderr = capsys.readouterr()
        assert (exit_.value.code, stdout) == (2, "")
        assert stderr.startswith("error: ")
        assert str(path) in stderr
        assert stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("-m", "compare.divergence", "nowhere", "nowhere"),
        ("-m", "compare.trace", "--out", "a.trace", "--", "nowhere.py"),
        ("-m", "compare.trace", "--out", "a.trace", "--", "-m", "no.where"),
        ("-m", "compare.trace", "--out", "nowhere/a.trace", "--", __file__),
    ],
)
def test_usage_errors_are_one_line(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path.cwd()))
    monkeypatch.chdir(tmp_path)
    result = python(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_names_are_matched_through_wrappers_and_prefixes() -> None:
    names = ["0.weight", "0.bias", "2.weight"]
    for prefix in ("model.", "module.", "_orig_mod.", "module._orig_mod.net.model."):
        assert _by_name(names, [prefix + n for n in names]) == [(0, 0), (1, 1), (2, 2)]
    assert _by_name(names, ["other.weight", *names]) == [(0, 1), (1, 2), (2, 3)]


def test_a_cut_last_line_is_forgiven_and_no_other(traced: Path) -> None:
    lines = (traced / "loop.trace").read_text().splitlines()
    assert from_lines("x", [*lines[:5], lines[5][:30]]).cut
    assert not from_lines("x", lines).cut
    with pytest.raises(TraceError, match="damaged at line 5"):
        from_lines("x", [*lines[:4], lines[4][:30], *lines[5:]])


@pytest.mark.slow
def test_under_torchrun_each_rank_writes_its_file(tmp_path: Path) -> None:
    script = tmp_path / "ddp.py"
    script.write_text(
        "import torch, torch.distributed as dist\n"
        "from torch.nn.parallel import DistributedDataParallel\n"
        "dist.init_process_group('gloo')\n"
        "torch.manual_seed(0)\n"
        "model = DistributedDataParallel(torch.nn.Linear(3, 1))\n"
        "optimizer = torch.optim.SGD(model.parameters(), lr=0.1)\n"
        "for value in range(4):\n"
        "    x = torch.full((2, 3), value + dist.get_rank() + 1.0)\n"
        "    model(x).sum().backward()\n"
        "    optimizer.step()\n"
        "    optimizer.zero_grad()\n"
        "dist.destroy_process_group()\n"
    )
    for name in ("a", "b"):
        result = python(
            *("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2),
            *("-m", "compare.trace", "--out", tmp_path / f"{name}.trace", "--", script),
        )
        assert result.returncode == 0, result.stderr
    ranks = [[tmp_path / f"{n}.rank{rank}.trace" for n in "ab"] for rank in (0, 1)]
    assert [divergence(*files).returncode for files in ranks] == [0, 0]
    across = json.loads(divergence(ranks[0][0], ranks[1][0], "--json").stdout)
    assert (across["step"], across["quantity"]) == (0, "batch")
    # the gradient is averaged over the processes, so it is not what differs
    assert "gradient" not in [d["quantity"] for d in across["differences"]]
