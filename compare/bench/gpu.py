"""Run the tests that need a GPU, and a short bench on it.

    make gpu PYTHON=python3 WHEELS=folder

runs this with a Python that has torch and Lightning, without .venv and without network.
What this Python lacks comes from the folder of wheels. All ends within 6 minutes.
"""

import argparse
import json
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any
from xml.etree import ElementTree

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "compare" / "results" / "gpu.json"
NEEDED = (
    *("torch", "torchvision", "pytorch_lightning", "torchmetrics", "tensorboard"),
    *("filelock", "matplotlib", "mlxtend", "tabulate", "torchinfo", "tqdm", "tyro"),
    *("hypothesis", "pytest", "xxhash"),
)
TEST_SECONDS, ALL_SECONDS, END_SECONDS = 180, 330, 15
"""Time limits of the tests, of tests and bench, and to end after a Ctrl-C."""
PARTS = ("ladder", "switches")


def run(module: str, arguments: list[str], seconds: float) -> bool:
    """Run a module, and return whether it succeeded within some time.

    When the time is up, it gets a Ctrl-C, at which pytest ends and writes its report.
    """
    process = subprocess.Popen([sys.executable, "-m", module, *arguments], cwd=ROOT)
    try:
        return process.wait(seconds) == 0
    except subprocess.TimeoutExpired:
        print(f"error: {module} took more than {seconds:.0f} s", file=sys.stderr)
        process.send_signal(signal.SIGINT)
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        return False


def run_tests(folder: Path) -> dict[str, Any]:
    """Run the tests marked `gpu`; return whether all passed, and how each ended."""
    files = [
        str(path)
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        if "mark.gpu" in path.read_text("utf-8")
    ]
    report = folder / "tests.xml"
    options = ["-q", "-m", "gpu", "-p", "no:cacheprovider", f"--junitxml={report}"]
    succeeded = run("pytest", [*options, *files], TEST_SECONDS)
    ended: dict[str, list[str]] = {"passed": [], "failed": [], "skipped": []}
    for case in ElementTree.parse(report).iter("testcase") if report.exists() else []:
        tags = {child.tag for child in case}
        outcome = "skipped" if "skipped" in tags else "passed"
        if tags & {"failure", "error"}:
            outcome = "failed"
        ended[outcome].append(f"{case.get('classname')}.{case.get('name')}")
    return {"succeeded": succeeded, **ended}


def run_bench(folder: Path, accelerator: str, seconds: float) -> dict[str, Any]:
    """Run parts of the bench, and return the results of those that ended in time."""
    options = ["--parts", *PARTS, "--rounds", "3", "--dataset", "mnist-5k"]
    options += ["--accelerator", accelerator, "--results", str(folder)]
    run("compare.bench", options, seconds)
    found = {part: folder / f"{part}.json" for part in PARTS}
    return {
        part: json.loads(path.read_text("utf-8"))
        for part, path in found.items()
        if path.exists()
    }


def committed() -> str:
    """Return the committed results, for compare/lessons/speed.md."""
    if not RESULTS.exists():
        return "No GPU has been at hand yet."
    from compare.bench.parts import show  # not at the top: it needs all of NEEDED

    results = json.loads(RESULTS.read_text("utf-8"))
    passed, failed = (len(results["tests"][name]) for name in ("passed", "failed"))
    tables = [show(part, results[part]) for part in PARTS if part in results]
    return "\n\n".join([f"Of the tests, {passed} passed and {failed} failed.", *tables])


def main() -> int:
    """Run all, write the results, and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="make gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--accelerator", choices=["cuda", "cpu"], default="cuda", help="default: cuda"
    )
    parser.add_argument(
        "--json", type=Path, default=RESULTS, help="the file for the results"
    )
    options = parser.parse_args()
    missing = [name for name in NEEDED if not find_spec(name)]
    if missing:
        print(
            f"error: {sys.executable} lacks {', '.join(missing)}: put the wheels into"
            " a folder, and add WHEELS=folder",
            file=sys.stderr,
        )
        return 1
    import torch  # not at the top: it could be missing

    if options.accelerator == "cuda" and not torch.cuda.is_available():
        parser.error("torch finds no GPU; ACCELERATOR=cpu tries this without one")
    if options.accelerator == "cpu" and options.json == RESULTS:
        parser.error("with --accelerator cpu, --json must name another file")
    end = monotonic() + ALL_SECONDS
    with TemporaryDirectory() as name:
        folder = Path(name)
        tests = run_tests(folder)
        bench = run_bench(folder, options.accelerator, end - monotonic())
    results = {"tests": tests, **bench}
    options.json.write_text(json.dumps(results, indent=1) + "\n")
    print(f"{options.json}: {len(tests['passed'])} tests passed")
    return 0 if tests["succeeded"] and all(part in results for part in PARTS) else 1


if __name__ == "__main__":
    sys.exit(main())
