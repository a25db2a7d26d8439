import json
import os
import shlex
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from compare.divergence.difference import compare_runs
from compare.trace.run import read_trace
from tests.processes import ROOT, fork

LOOP = """
    import sys
    import helper  # stands beside the script
    import torch
    from torch import nn

    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    print(sys.argv, sys.path[0], __name__, __file__)
    for _ in range(int(sys.argv[1])):
        loss = model(torch.ones(4, 3)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    helper.finish()
"""

PORT = """
    import sys
    import logging
    import pytorch_lightning as pl
    import torch
    from torch import nn
    from torch.utils.data import DataLoader

    class Lit(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = nn.Linear(3, 2)

        def training_step(self, batch):
            return self.net(batch).square().mean()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    if __name__ == "__main__":
        torch.set_num_threads(1)
        logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
        torch.manual_seed(0)
        pl.Trainer(
            max_epochs=1, accelerator="cpu", devices=1, logger=False,
            enable_checkpointing=False, enable_progress_bar=False,
        ).fit(Lit(), DataLoader([torch.ones(3)] * 4 * int(sys.argv[1]), 4))
"""


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "loop.py").write_text(textwrap.dedent(LOOP))
    (folder / "port.py").write_text(textwrap.dedent(PORT))
    (folder / "helper.py").write_text("def finish(): pass\n")
    return folder


def command(
    out: Path, *what: str | Path, **environment: str
) -> tuple[int | None, str, str]:
    """Trace a command; return its exit status and what it prints."""
    arguments = ("--out", str(out), "--", *map(str, what))
    process = fork(out.parent, "compare.trace", *arguments, **environment)
    process.join(120)
    stdout, stderr = ((out.parent / n).read_text() for n in ("stdout", "stderr"))
    return process.exitcode, stdout, stderr


def test_a_loop_and_its_port_are_the_same(tmp_path: Path, scripts: Path) -> None:
    paths = tmp_path / "a.trace", tmp_path / "b.trace"
    status, stdout, stderr = command(paths[0], scripts / "loop.py", "5", "--flag")
    assert status == 0, stderr
    script = str(scripts / "loop.py")
    assert stdout == f"{[script, '5', '--flag']} {scripts} __main__ {script}\n"
    assert stderr == f"trace: 5 steps and 0 evaluation batches in {paths[0]}\n"
    assert command(paths[1], scripts / "port.py", "5")[0] == 0
    comparison = compare_runs(*map(read_trace, paths))
    assert comparison.first is None
    assert len(comparison.pairs) == 5


def test_a_module_runs_as_python_runs_it(tmp_path: Path) -> None:
    status, stdout, _ = command(tmp_path / "a.trace", "-m", "json.tool", "--help")
    assert status == 0
    assert "python -m json.tool" in stdout


def test_exit_status_and_traceback_are_the_scripts_own(
    tmp_path: Path, scripts: Path
) -> None:
    (scripts / "helper.py").write_text("def finish(): raise RuntimeError('boom')\n")
    status, _, stderr = command(tmp_path / "a.trace", scripts / "loop.py", "2")
    assert status == 1
    assert stderr.count("File ") == 2  # loop.py and helper.py
    assert "compare" not in stderr.split("trace:")[0]
    run = read_trace(tmp_path / "a.trace")
    assert len(run.steps) == 2
    assert run.remarks == ["a.trace ended with RuntimeError"]

    (scripts / "helper.py").write_text("import sys\ndef finish(): sys.exit(7)\n")
    assert command(tmp_path / "a.trace", scripts / "loop.py", "1")[0] == 7


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_run_leaves_a_readable_file(
    tmp_path: Path, scripts: Path, how: signal.Signals
) -> None:
    (scripts / "helper.py").write_text("import time\ndef finish(): time.sleep(60)\n")
    out = tmp_path / "a.trace"
    arguments = ("--out", str(out), "--", str(scripts / "loop.py"), "3")
    process = fork(tmp_path, "compare.trace", *arguments)
    deadline = time.monotonic() + 60
    while not out.exists() or out.read_text().count('"kind":"step"') < 3:
        assert time.monotonic() < deadline
        assert process.is_alive()
        time.sleep(0.05)
    os.kill(process.pid, how)
    process.join(30)
    assert process.exitcode == (130 if how == signal.SIGINT else -how)
    run = read_trace(out)
    assert len(run.steps) == 3
    assert len(run.remarks) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--out", "a.trace"], "say what to run after --"),
        (["--out", "a.trace", "--", "-m"], "say what to run after --"),
        (["--out", "a.trace", "--", "nowhere.py"], "there is no file nowhere.py"),
        (["--out", "a.trace", "--", "-m", "no.where"], "there is no module no.where"),
        (["--out", "no/a.trace", "--", "-m", "json.tool"], "cannot write no/a.trace"),
        (["--out", "/", "--", "-m", "json.tool"], "cannot write /: Is a directory"),
    ],
)
def test_mistakes_get_one_clear_line(
    arguments: list[str],
    words: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from compare.trace.command import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])  # whose first entry it replaces
    with pytest.raises(SystemExit) as refused:
        main(arguments)
    assert refused.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {words}")
    assert said.count("\n") == 1


def test_a_full_disk_does_not_stop_the_script(tmp_path: Path, scripts: Path) -> None:
    words = [sys.executable, str(ROOT / "compare/trace"), "--out", "a.trace", "--"]
    words += [str(scripts / "loop.py"), "9"]
    limited = f"ulimit -f 8; exec {shlex.join(words)}"
    process = subprocess.run(
        ["sh", "-c", limited], cwd=tmp_path, capture_output=True, text=True
    )
    assert process.returncode == 0
    lost = "trace: cannot write a.trace: File too large; the rest is lost\n"
    assert process.stderr.startswith(lost)
    run = read_trace(tmp_path / "a.trace")
    assert 0 < len(run.steps) < 9
    assert len(run.remarks) == 1


def test_each_rank_writes_its_own_file(tmp_path: Path, scripts: Path) -> None:
    assert command(tmp_path / "a.trace", scripts / "loop.py", "1", RANK="3")[0] == 0
    assert [p.name for p in tmp_path.glob("*.trace")] == ["a.rank3.trace"]
    header = json.loads((tmp_path / "a.rank3.trace").read_text().splitlines()[0])
    assert header["rank"] == 3


DDP = """
    import sys
    import torch
    from torch import nn
    import torch.distributed as dist

    dist.init_process_group("gloo")
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = nn.parallel.DistributedDataParallel(nn.Linear(3, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(3):
        x = torch.full((4, 3), float(dist.get_rank() + step))
        loss = model(x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    dist.destroy_process_group()
"""


@pytest.mark.slow
def test_torchrun_with_two_processes(tmp_path: Path, scripts: Path) -> None:
    (scripts / "ddp.py").write_text(textwrap.dedent(DDP))
    out = tmp_path / "a.trace"
    subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node", "2", "-m", "compare.trace", "--out", out),
            *("--", scripts / "ddp.py"),
        ],
        cwd=ROOT,
        timeout=120,
        check=True,
        capture_output=True,
    )
    ranks = [read_trace(tmp_path / f"a.rank{rank}.trace") for rank in (0, 1)]
    assert [len(run.steps) for run in ranks] == [3, 3]
    first = compare_runs(*ranks).first
    assert first is not None
    assert (first.step, first.quantity) == (0, "batch")
    for one, other in zip(ranks[0].steps, ranks[1].steps, strict=True):
        assert one.gradient == other.gradient  # averaged over the processes
        assert one.weights == other.weights


@pytest.mark.slow
def test_a_compiled_model_on_the_command_line(tmp_path: Path, scripts: Path) -> None:
    if not any(
        Path(p, c).exists() for p in os.get_exec_path() for c in ("g++", "clang++")
    ):
        pytest.skip("torch.compile needs a C++ compiler")
    text = textwrap.dedent(LOOP).replace(
        "nn.Linear(3, 2)", "torch.compile(nn.Linear(3, 2))"
    )
    (scripts / "compiled.py").write_text(text)
    status, _, stderr = command(tmp_path / "a.trace", scripts / "compiled.py", "3")
    assert status == 0, stderr
    assert "Warning" not in stderr
    assert "trace: a compiled model was recorded as one layer" in stderr
    assert len(read_trace(tmp_path / "a.trace").steps) == 3
