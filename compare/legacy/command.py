"""The command line."""

import argparse
import os
import sys
from collections.abc import Iterator
from difflib import unified_diff
from pathlib import Path

from compare.legacy.blocks import PINS, SUFFIXES, read, read_text, write_text
from compare.legacy.report import FORMATS
from compare.legacy.rules import Finding, UnusableFileError
from compare.legacy.search import Found, search

SKIPPED = {"__pycache__", "node_modules", "site-packages"}
HELP = """\
Find what Lightning has removed, renamed or ignores silently, and say what to write
now. Reads Python files, notebooks, the code in Markdown and reStructuredText, and the
versions that lists of packages pin. Nothing of them is run.
"""
MORE = """\
exit status: 0 nothing was found, 1 something was, 2 a file could not be read; the
  others are reported all the same. A note (PLL000) does not count.
comments: `# noqa: PLL101` silences a code on its line, `# noqa` all of them;
  `# legacy: on purpose` on the line of a class or function covers all of it.
codes: one for each rule of rules.toml; --select and --ignore take the start of one,
  such as PLL1, and several with commas between. PLL1 are arguments, PLL2 their values,
  PLL3 attributes, PLL4 hooks, PLL5 and PLL6 names, PLL9 unsafe versions, PLL0 the rest.
--diff and --fix change what keeps its meaning: imports, renamed arguments, gpus=N,
  precision, ckpt_path. They need the package libcst.
"""


def main(argv: list[str]) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m compare.legacy",
        description=HELP,
        epilog=MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("paths", nargs="+", metavar="FILE|FOLDER", type=Path)
    parser.add_argument("--select", metavar="CODES", default="PLL", help="only these")
    parser.add_argument("--ignore", metavar="CODES", default="", help="all but these")
    parser.add_argument("--output-format", choices=FORMATS, default="text")
    parser.add_argument("--exit-zero", action="store_true", help="1 becomes 0")
    change = parser.add_mutually_exclusive_group()
    change.add_argument("--diff", action="store_true", help="show what --fix changes")
    change.add_argument(
        "--fix", action="store_true", help="change files, report the rest"
    )
    options = parser.parse_args(argv)
    if options.diff or options.fix:
        try:
            from compare.legacy import fix
        except ImportError:
            parser.error("--diff and --fix need libcst: pip install libcst")
    select, ignore = (
        tuple(codes.replace(",", " ").split())
        for codes in (options.select, options.ignore)
    )

    def wanted(path: Path) -> list[Found]:
        return [
            one
            for one in search(read(path))
            if one[0].code.startswith(select)
            and not (ignore and one[0].code.startswith(ignore))
        ]

    findings: list[Finding] = []
    status = differs = 0
    for path in files(options.paths):
        try:
            found = wanted(path)
            if options.diff or options.fix:
                old = read_text(path)
                new = fix.fixed(read(path), old, [one[1:] for one in found])
                if options.diff and new != old:
                    differs = 1
                    names = f"a/{path}", f"b/{path}"
                    before, after = (text.splitlines(True) for text in (old, new))
                    sys.stdout.writelines(unified_diff(before, after, *names))
                elif new != old:
                    write_text(path, new)
                    found = wanted(path)
            findings += [finding for finding, _, _ in found]
        except (UnusableFileError, OSError) as error:
            why = f"{path}: {error.strerror}" if isinstance(error, OSError) else error
        except RecursionError:
            why = f"{path}: nested too deeply, not searched"
        except Exception as error:  # the other files are reported all the same
            why = f"{path}: not searched, {type(error).__name__}: {error}"
        else:
            continue
        print(f"error: {why}", file=sys.stderr)
        status = 2
    if options.diff:
        return status or differs
    if findings or not status or options.output_format != "text":
        print(FORMATS[options.output_format](findings))
    found_any = any(finding.effect != "note" for finding in findings)
    return status or int(found_any and not options.exit_zero)


def files(paths: list[Path]) -> Iterator[Path]:
    """Yield each file once: those named, and those of a known kind in folders."""
    seen = set()
    for path in paths:
        inside: list[Path] = [path]
        if path.is_dir():
            inside = []
            for folder, folders, names in os.walk(path):
                folders[:] = sorted(
                    name
                    for name in folders
                    if not name.startswith(".")
                    and name not in SKIPPED
                    and not Path(folder, name, "pyvenv.cfg").exists()
                )
                inside += [Path(folder, name) for name in sorted(names)]
            inside = [
                file
                for file in inside
                if file.suffix.lower() in SUFFIXES or PINS.fullmatch(file.name)
            ]
        for file in inside:
            if file.resolve() not in seen:
                seen.add(file.resolve())
                yield file
