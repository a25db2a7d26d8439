"""Run the pairs of the lessons, and keep for the site what they have computed.

    python -m compare.site.results              # every result that is missing or stale
    python -m compare.site.results clipping     # this lesson's, in any case

writes compare/results/lessons/NAME.json, and its pictures beside it. The pages are made
of these files alone, without torch.
"""

import json
import platform
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from compare.lessons.costs import HALVES, ROOT, lessons
from compare.parity.results import read_results
from compare.parity.table import compare_results
from compare.site.stale import LESSONS, digest, is_stale

DATASET = "--dataset mnist-5k"
OPTIONS = {
    "averaging": "--max-epochs 5",
    "callback": "--max-epochs 6 --every-n-epochs 2",
    "cli": "",
    "closure": "--max-epochs 10 --batch-size 1000 --learning-rate 1",
    "cluster": "--devices 2 --max-epochs 3",
    "debugging": "--overfit-batches 2 --max-epochs 30",
    "distributed": "--devices 2 --max-epochs 3",
    "early_stopping": "--max-epochs 20 --min-delta 0.01",
    "evaluate": "",
    "schedule": "--max-epochs 10 --lr-scheduler plateau --learning-rate 0.05",
    "sharding": "--devices 2 --max-epochs 3",
    "transfer": "--max-epochs 4",
}
NEEDS = {"evaluate": ["train"], "transfer": ["train"]}  # a model of
OUTPUT_LINES, PICTURE_WIDTH, BARS = 30, 900, 30


def arguments(lesson: str) -> str:
    """Return the options with which a lesson's pair is compared."""
    dataset = "--data.dataset mnist-5k" if lesson == "cli" else DATASET
    return f"{dataset} {OPTIONS.get(lesson, '--max-epochs 3')}".strip()


def run(lesson: str, folder: Path) -> str:
    """Compare a lesson's halves, with runs in a folder, and return the output.

    Raises:
        CalledProcessError: they are not the same, or a half has failed.
    """
    place = [] if lesson == "cli" else ["--output-dir", str(folder)]
    command = [sys.executable, "-m", "compare", lesson, *arguments(lesson).split()]
    process = subprocess.run(
        [*command, *place], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    if process.returncode:
        print(process.stdout)
    process.check_returncode()
    return process.stdout.replace(str(folder), "output")


def find_runs(lesson: str, folder: Path) -> list[Path]:
    """Return the folders of the runs of both halves that were made last."""
    if lesson != "cli":
        return [folder / lesson / "version_0" / half for half in HALVES]
    return [
        max((ROOT / "output/cli" / half).glob("version_*"), key=number)
        for half in HALVES
    ]


def number(path: Path) -> int:
    """Return the N of version_N."""
    return int(path.name.removeprefix("version_"))


def end(output: str) -> str:
    """Return the last lines, without progress bars and the times of a busy machine."""
    left_out = re.compile(r"^wall time|it/s|s/it|\x1b|^\s+$")
    lines = [line for line in output.splitlines() if not left_out.search(line)]
    return "\n".join(line.rstrip() for line in lines[-OUTPUT_LINES:]).strip("\n")


def is_curve(name: str, numbers: Tensor) -> bool:
    """Return whether a result is a table of steps and values."""
    return numbers.dim() == 2 and numbers.shape[1] == 2 and "." not in name


def points(numbers: Tensor) -> list[list[float]]:
    """Return a curve with as many digits as a picture needs."""
    return [[int(step), float(f"{value:.5g}")] for step, value in numbers.tolist()]


def histograms(run_dir: Path) -> dict[str, list[list[float]]]:
    """Return the last histogram of each tag in even bars: left, right, count.

    TensorBoard's own bars are the wider, the further they are from 0; their counts are
    spread evenly over their width.
    """
    events = EventAccumulator(str(run_dir), size_guidance={"histograms": 0}).Reload()
    found = {}
    for tag in events.Tags()["histograms"]:
        last = events.Histograms(tag)[-1].histogram_value
        edges = np.linspace(last.min, last.max, BARS + 1)
        below = np.interp(edges, last.bucket_limit, np.cumsum(last.bucket))
        counts = np.diff(below).round(1)
        found[tag] = [
            [float(f"{left:.4g}"), float(f"{right:.4g}"), count]
            for left, right, count in zip(edges[:-1], edges[1:], counts, strict=True)
        ]
    return found


def save_pictures(lesson: str, results: dict[str, Tensor]) -> list[dict[str, str]]:
    """Save the pictures of a run; return file and title of each."""
    saved = []
    pictures = {
        name: pixels
        for name, pixels in results.items()
        if pixels.dim() == 3 and (name.endswith(".png") or ", step" in name)
    }
    if any(name.endswith(".png") for name in pictures):  # TensorBoard has them again
        pictures = {name: pictures[name] for name in pictures if name.endswith(".png")}
    for name, pixels in pictures.items():
        title = name.removesuffix(".png").replace("_", " ")
        image = Image.fromarray(pixels.numpy())
        if image.width > PICTURE_WIDTH:
            image.thumbnail((PICTURE_WIDTH, PICTURE_WIDTH))
        file = f"{lesson}-{re.sub(r'[^a-z0-9]+', '-', title.lower())}.png"
        image.save(LESSONS / file, optimize=True)
        saved.append({"file": file, "title": title})
    return saved


def measure(lesson: str, folder: Path) -> dict[str, Any]:
    """Run a lesson's pair and return what its page shows."""
    output = run(lesson, folder)
    folders = find_runs(lesson, folder)
    plain, lightning = (read_results(path) for path in folders)
    rows = compare_results(plain, lightning)
    return {
        "digest": digest(lesson),
        "commands": [
            f'make compare LESSON={name} ARGS="{arguments(name)}"'
            for name in (*NEEDS.get(lesson, []), lesson)
        ],
        "versions": {
            "Python": platform.python_version(),
            **{name: version(name) for name in ("torch", "pytorch-lightning")},
        },
        "output": end(output),
        "numbers": sum(plain[row.quantity].numel() for row in rows if row.same),
        "different": [row.quantity for row in rows if not row.same],
        "curves": {
            name: {
                "by hand": points(plain[name]),
                "in Lightning": points(lightning[name]),
                "difference": (plain[name] - lightning[name]).abs().max().item(),
            }
            for name in plain
            if is_curve(name, plain[name])
        },
        "histograms": histograms(folders[1]),
        "pictures": save_pictures(lesson, lightning),
    }


def main(names: list[str]) -> None:
    """Renew the results of these lessons, by default of those that need it."""
    LESSONS.mkdir(parents=True, exist_ok=True)
    for lesson in names or filter(is_stale, lessons()):
        print(lesson, flush=True)
        for old in LESSONS.glob(f"{lesson}-*.png"):
            old.unlink()
        with TemporaryDirectory() as folder:
            for needed in NEEDS.get(lesson, []):
                run(needed, Path(folder))
            result = measure(lesson, Path(folder))
        text = json.dumps(result, indent=1)
        # A pair of numbers on one line.
        text = re.sub(r"\[\s+([^\[\]]+?)\s+\]", flat, text)
        (LESSONS / f"{lesson}.json").write_text(text + "\n", encoding="utf-8")


def flat(match: re.Match[str]) -> str:
    """Return a list in JSON without its line breaks."""
    return "[" + re.sub(r"\s*\n\s*", " ", match[1]) + "]"


if __name__ == "__main__":
    main(sys.argv[1:])
