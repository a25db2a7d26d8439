"""A run that is killed at any moment loses nothing but the steps since its last save.

Every victim is a process of its own. They are forked from a server that has imported
torch and Lightning already, so that hundreds can be killed in minutes: 20 for each
half, or as many as the environment's KILLS says.
"""

import contextlib
import importlib
import os
import random
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from compare.parity.results import read_results
from shared.options.resume import Config as ResumeConfig
from shared.options.train import Config as TrainConfig
from tests.processes import forkserver

HALVES = ["plain_pytorch", "lightning"]
KILLS = int(os.environ.get("KILLS", "20"))


@pytest.fixture
def config(small: TrainConfig) -> ResumeConfig:
    options = vars(small) | {"max_epochs": 3, "limit_train_batches": 8}
    return ResumeConfig(**options, every_n_train_steps=1)


def run_main(
    half: str, config: ResumeConfig, run_dir: Path, seed: int, syncs: int | None
) -> None:
    """Run a half in this process, which dies after `syncs` calls of fsync, if given."""
    os.environ["PL_GLOBAL_SEED"] = str(seed)
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    left = [syncs]

    def fatal_fsync(_file: int) -> None:  # and fast: only a power cut needs the disk
        if left[0] is not None:
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    os.fsync = fatal_fsync  # type: ignore[assignment]
    (run_dir / "started").touch()
    main = importlib.import_module(f"{half}.resume").main
    with (
        Path(os.devnull).open("w") as quiet,
        contextlib.redirect_stdout(quiet),
        contextlib.redirect_stderr(quiet),
    ):
        main(config, run_dir)


def start(
    half: str, config: ResumeConfig, run_dir: Path, syncs: int | None = None
) -> Any:
    """Start a process, and wait until it has nothing left to do but the run."""
    run_dir.mkdir(parents=True, exist_ok=True)
    (run_dir / "started").unlink(missing_ok=True)
    seed = random.randrange(2**32)
    process = forkserver.Process(
        target=run_main, args=(half, config, run_dir, seed, syncs)
    )
    process.start()
    while not (run_dir / "started").exists():
        time.sleep(0.001)
    return process


def finish(process: Any) -> int:
    process.join(120)
    return process.exitcode


@pytest.mark.slow
@pytest.mark.parametrize("half", HALVES)
def test_a_killed_run_is_resumed_to_the_same_end(
    config: ResumeConfig, half: str
) -> None:
    moments = random.Random(KILLS)
    whole_dir = config.output_dir / "whole"
    process = start(half, config, whole_dir)
    begin = time.perf_counter()
    assert finish(process) == 0
    duration = time.perf_counter() - begin
    whole = read_results(whole_dir)
    for kill in range(KILLS):
        run_dir = config.output_dir / f"killed_{kill}"
        if kill % 4 == 0:  # inside a save, before or after the file is renamed
            victim = start(half, config, run_dir, syncs=moments.randrange(60))
        else:
            victim = start(half, config, run_dir)
            time.sleep(moments.uniform(0, duration))
            victim.kill()
        assert finish(victim) in (-signal.SIGKILL, 0)  # 0: it was faster
        resumed = replace(config, ckpt_path="last")
        assert finish(start(half, resumed, run_dir)) == 0
        results = read_results(run_dir)
        assert results.keys() == whole.keys()
        for name, values in whole.items():
            assert torch.equal(values, results[name]), (kill, name)
        names = [path.name for path in (run_dir / "checkpoints").iterdir()]
        assert sorted(names) == ["best.ckpt", "last.ckpt"], kill
