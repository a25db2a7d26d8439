"""What the README shows is so, and what it tells people to run works."""

import importlib
import os
import re
import shlex
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from PIL import Image

from shared.options.cli import CliConfig
from shared.options.train import Parser, TrainConfig
from shared.runtime.command import config_class
from tests.processes import ROOT
from tests.repo.test_makefile import make
from tests.repo.test_mirror import tags

README = (ROOT / "README.md").read_text()
COMMANDS = sorted(set(re.findall(r"^\$ (.+?)(?:\s+#.*)?$", README, re.MULTILINE)))

needs_venv = pytest.mark.skipif(
    not (ROOT / ".venv" / ".ready").exists(), reason="no .venv: run `make test`"
)


def test_the_diff_is_the_real_one() -> None:
    (excerpt,) = re.findall(r"```diff\n(.*?)```", README, re.DOTALL)
    assert excerpt in make(ROOT, "diff").stdout


def test_the_table_has_every_tag() -> None:
    rows = re.findall(r"^\|.*\|$", README, re.MULTILINE)
    named = {tag for row in rows for tag in re.findall(r"`\[([a-z_]+)\]`", row)}
    assert named == tags((ROOT / "plain_pytorch" / "train.py").read_text())


def test_the_table_quotes_the_loop() -> None:
    rows = re.findall(r"^\| (`.*?) \| .* \|$", README, re.MULTILINE)
    assert len(rows) > 10
    loop = (ROOT / "plain_pytorch" / "train.py").read_text()
    for row in rows:
        for code in re.findall(r"`(.+?)`", row):
            assert code.replace("tensor.cuda()", "[tensor.cuda()") in loop, code


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)]+)\)", README)
    assert links
    assert not [link for link in links if not (ROOT / link).exists()]


def test_every_command_is_known() -> None:
    """Each is run below, by .ci/run, or by those of make, legacy, cost and devices."""
    elsewhere = {
        "make test",
        "make diff",
        "make diff LESSON=checkpoint",
        "make tensorboard",
        'make legacy ARGS="my_tutorial.md my_notebook.ipynb"',
        "make cost",
        'make cost ARGS="--tags checkpoint"',
        'make cost ARGS="--plot output/cost.png"',
    }
    with_python = {command for command in COMMANDS if command.startswith(PYTHON)}
    assert len(with_python) == 12
    assert set(COMMANDS) == elsewhere | {*TINY} | {*EVALUATE} | {*CLI} | with_python
    assert "make test" in (ROOT / ".ci" / "run").read_text()


PYTHON = ".venv/bin/python "
LOOP = """
import sys
import torch

assert sys.argv[1:] == ["--its-arguments"]
torch.manual_seed(0)
model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(5):
    loss = model(torch.randn(8, 4)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


def run_python(command: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the README with the Python of these tests."""
    arguments = command.removeprefix(PYTHON).split()
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True
    )


@pytest.mark.parametrize(
    ("port", "status"),
    [(LOOP, 0), (LOOP.replace("optimizer.zero_grad()", "pass"), 1)],
    ids=["same", "different"],
)
def test_the_commands_for_a_loop_and_its_port(
    tmp_path: Path, port: str, status: int
) -> None:
    (tmp_path / "my_loop.py").write_text(LOOP)
    (tmp_path / "my_port.py").write_text(port)
    commands = re.findall(
        r"^\$ (\S+ -m compare\.(?:trace|divergence) .+)$", README, re.M
    )
    assert len(commands) == 3
    for command in commands:
        command = re.sub(r"\b(a|b)\.trace|my_\w+\.py", rf"{tmp_path}/\g<0>", command)
        process = run_python(command)
    assert process.returncode == status, process.stderr
    if status:
        assert "step 1" in process.stdout
        assert "gradient" in process.stdout
        assert "1. zero-grad-forgotten" in process.stdout


@pytest.mark.slow
def test_the_command_that_times_checkpoints() -> None:
    (command,) = re.findall(r"^\$ (\S+ -m compare\.bench_\w+)$", README, re.MULTILINE)
    process = run_python(command)
    assert process.returncode == 0, process.stderr
    assert "write_checkpoint" in process.stdout


@pytest.mark.slow
def test_the_commands_of_the_clinic() -> None:
    commands = re.findall(r"^\$ (\S+ -m compare\.clinic.*)$", README, re.MULTILINE)
    outputs = []
    for command in commands:
        process = run_python(command)
        assert process.returncode == 0, process.stderr
        outputs.append(process.stdout)
    *_, listed, shown = outputs
    assert "zero-grad-forgotten" in listed
    assert "zero_grad" in shown


@pytest.mark.slow
def test_the_commands_for_two_processes(small: TrainConfig) -> None:
    commands = re.findall(r"^\$ (\S+ -m torch\.distributed\.run .+)$", README, re.M)
    for command in commands:
        process = run_python(" ".join([command, *small.to_arguments()]))
        assert process.returncode == 0, process.stderr
        assert "test loss" in process.stdout


TINY = {
    "make compare": [],
    "make plain": [],
    'make lightning ARGS="--max-epochs 1 --accelerator cpu"': ["--max-epochs=1"],
    "make lightning ARGS=--help": ["--help"],
    "make bench": ["--parts ladder --rounds=2 --limit-train-batches=22"],
    'make bench ARGS="--parts ladder startup"': [
        "--parts ladder --rounds=2 --limit-train-batches=22"
    ],
    'make plain LESSON=checkpoint ARGS="--every-n-train-steps 100"': [
        "--every-n-train-steps=100"
    ],
    'make lightning LESSON=checkpoint ARGS="--ckpt-path last"': ["--ckpt-path=last"],
    'make plain LESSON=callbacks ARGS="--max-epochs 10 --lr-scheduler cosine"': [
        "--lr-scheduler=cosine"
    ],
    'make lightning LESSON=callbacks ARGS="--weight-averaging ema --patience 5"': [
        "--weight-averaging=ema"
    ],
    'make compare LESSON=optimization ARGS="--accumulate-grad-batches 4'
    ' --gradient-clip-val 0.1"': [
        "--accumulate-grad-batches=4",
        "--gradient-clip-val=0.1",
    ],
    'make plain LESSON=optimization ARGS="--optimizer lbfgs --batch-size 1000'
    ' --learning-rate 1"': [
        "--optimizer=lbfgs",
        "--batch-size=1000",
        "--learning-rate=1",
    ],
    "make plain LESSON=under_the_hood": [],
    "make lightning LESSON=under_the_hood": [],
    "make plain LESSON=metrics": [],
    'make lightning LESSON=metrics ARGS="--log-every-n-steps 50"': [
        "--log-every-n-steps=50"
    ],
    "make compare LESSON=precision": [],
    'make plain LESSON=precision ARGS="--precision bf16-true'
    ' --gradient-clip-val 0.1"': [
        "--precision=bf16-true",
        "--gradient-clip-val=0.1",
    ],
    "make lightning LESSON=precision ARGS=--compile": ["--compile"],
    "make compare LESSON=distributed DEVICES=2": ["--batch-size=32"],
    "make plain LESSON=distributed DEVICES=2": [],
    'make lightning LESSON=distributed DEVICES=2 ARGS="--ckpt-path last"': [
        "--ckpt-path=last"
    ],
    'make lightning LESSON=sharding ARGS="--devices 2 --batch-size 32"': [
        "--devices=2",
        "--batch-size=32",
    ],
    'make compare LESSON=transfer ARGS="--backbone resnet18 --weights none"': [
        "--backbone=resnet18",
        "--weights=none",
        "--batch-size=8",
    ],
    "make plain LESSON=debugging ARGS=--fast-dev-run": ["--fast-dev-run"],
    'make lightning LESSON=debugging ARGS="--overfit-batches 1 --max-epochs 100"': [
        "--overfit-batches=1"
    ],
    'make plain LESSON=debugging ARGS="--limit-train-batches 0.1 --profiler pytorch"': [
        "--limit-train-batches=0.1",
        "--profiler=pytorch",
    ],
}


CLI = [
    'make plain LESSON=cli ARGS="fit --trainer.max_epochs 1 --print_config" > run.yaml',
    'make lightning LESSON=cli ARGS="fit --config run.yaml"',
    'make compare LESSON=cli ARGS="fit --model.hidden_dim 32"',
]


@pytest.mark.slow
@needs_venv
def test_the_commands_of_the_lesson_cli(small: TrainConfig) -> None:
    file = small.data_dir.with_name("run.yaml")
    _, *options = CliConfig(**vars(small)).to_arguments()
    for command in CLI:
        _, target, lesson, arguments, *_ = shlex.split(command)
        arguments = arguments.replace("run.yaml", str(file))
        process = make(ROOT, target, lesson, " ".join([arguments, *options]))
        assert process.returncode == 0, process.stderr
        if command.endswith("> run.yaml"):
            file.write_text(process.stdout)
    assert process.stdout.endswith("same\n")


@pytest.mark.parametrize(
    "command", [name for name in COMMANDS if "LESSON=" in name and name not in CLI]
)
def test_the_options_of_a_lesson_are_its_own(command: str) -> None:
    _, target, lesson, *arguments = shlex.split(command.replace(" DEVICES=2", ""))
    half = "lightning" if target == "lightning" else "plain_pytorch"
    name = lesson.removeprefix("LESSON=")
    assert (ROOT / half / f"{name}.py").exists()
    if arguments:
        main = importlib.import_module(f"{half}.{name}").main
        options = shlex.split(arguments[0].removeprefix("ARGS="))
        Parser(command, config_class(main)).parse_config(options)


@needs_venv
@pytest.mark.parametrize(
    "command",
    [
        # That these run, tests of their own see; this one adds seconds of imports.
        pytest.param(
            command,
            marks=pytest.mark.slow if re.search("LESSON=|--parts", command) else (),
        )
        for command in TINY
    ],
)
def test_a_command_works(small: TrainConfig, command: str) -> None:
    arguments = " ".join([*small.to_arguments(), *TINY[command]])
    lesson = re.findall(r"(?:LESSON|DEVICES)=\w+", command)
    process = make(ROOT, command.split()[1], *lesson, f"ARGS={arguments}")
    assert process.returncode == 0, process.stderr
    assert process.stdout


EVALUATE = [
    "make plain LESSON=evaluate",
    'make lightning LESSON=evaluate ARGS="--image my_digit.jpg"',
    "make plain LESSON=transfer",
    'make lightning LESSON=transfer ARGS="--unfreeze-backbone-at-epoch 1'
    ' --predict my_digit.png"',
]


@pytest.mark.slow
@needs_venv
@pytest.mark.parametrize("command", EVALUATE)
def test_a_command_after_a_training_works(small: TrainConfig, command: str) -> None:
    trained = make(ROOT, "plain", f"ARGS={' '.join(small.to_arguments())}")
    assert trained.returncode == 0, trained.stderr
    image = small.output_dir / "my_digit.jpg"
    Image.new("L", (40, 60), 255).save(image)
    arguments = [f"--output-dir={small.output_dir}", "--accelerator=cpu"]
    if "LESSON=transfer" in command:
        arguments.append("--limit-train-batches=2")
    if "--image" in command:
        arguments.append(f"--image={image}")
    if "--predict" in command:
        arguments += ["--unfreeze-backbone-at-epoch=1", f"--predict={image}"]
    _, half, lesson, *_ = command.split()
    process = make(ROOT, half, lesson, f"ARGS={' '.join(arguments)}")
    assert process.returncode == 0, process.stderr
    assert "test loss" in process.stdout


@needs_venv
def test_make_tensorboard_serves(tmp_path: Path) -> None:
    process = subprocess.Popen(
        ["make", "tensorboard", f"ARGS=--port=0 --logdir={tmp_path}"],
        cwd=ROOT,
        env={name: os.environ[name] for name in os.environ if "MAKE" not in name},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stderr is not None
        address = None
        while address is None:
            line = process.stderr.readline()
            assert line, "tensorboard ended"
            address = re.search(r"http://\S+:\d+/", line)
        with urllib.request.urlopen(address[0]) as page:
            assert b"TensorBoard" in page.read()
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_grep_prints_both_answers() -> None:
    (command,) = re.findall(r"^`(grep .+?)`", README, re.MULTILINE)
    found = subprocess.run(
        command, shell=True, cwd=ROOT, capture_output=True, text=True
    ).stdout
    assert "plain_pytorch/train.py:" in found
    assert "lightning/train.py:" in found
