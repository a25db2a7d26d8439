"""The command line."""

import argparse
import os
import sys
from collections.abc import Iterator
from difflib import unified_diff
from pathlib import Path

from compare.legacy.blocks import PINS, SUFFIXES, read, read_text, write_text
from compare.legacy.report import FORMATS
from compare.legacy.rules import RULES, Finding, UnusableFileError
from compare.legacy.search import Found, search

SKIPPED = {"__pycache__", "node_modules", "site-packages"}
HELP = """\
Find what Lightning has removed, renamed or ignores silently, and say what to write
now. Reads Python files, notebooks, the code in Markdown and reStructuredText, and the
versions that lists of packages pin. Nothing of them is run.
"""
MORE = """\
exit status: 0 if nothing was found, 1 if something was, 2 if a file could not be read;
  the other files are reported all the same. A note (PLL000) does not count.
comments: `# noqa: PLL101` silences a code on its line, and `# noqa` all codes. So does
  `# legacy: on purpose`, which no other tool reads.
codes: each rule of rules.toml has one. --select and --ignore take codes or their
  beginnings, with commas between: PLL1,PLL301. PLL1 are arguments, PLL2 their values,
  PLL3 attributes, PLL4 hooks, PLL5 and PLL6 names, PLL9 unsafe versions, PLL0 the rest.
--diff and --fix make the changes that keep the meaning: imports, renamed arguments,
  gpus=N, precision, ckpt_path. They need the package libcst.
"""


def main(argv: list[str]) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="compare/legacy",
        description=HELP,
        epilog=MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("paths", nargs="+", metavar="FILE|FOLDER", type=Path, help="what to search")
    add("--select", metavar="CODES", type=codes, default="PLL", help="find only these")
    add("--ignore", metavar="CODES", type=codes, default="", help="find all but these")
    add("--output-format", choices=FORMATS, default="text", help="default: text")
    add("--exit-zero", action="store_true", help="exit with 0, whatever is found")
    change = parser.add_mutually_exclusive_group()
    change.add_argument("--diff", action="store_true", help="show what --fix changes")
    change.add_argument(
        "--fix", action="store_true", help="change, and report the rest"
    )
    options = parser.parse_args(argv)
    if options.diff or options.fix:
        try:
            import libcst  # noqa: F401
        except ImportError:
            parser.error("--diff and --fix need libcst: pip install libcst")
    findings: list[Finding] = []
    diffs = ""
    status = 0
    paths = list(dict.fromkeys(files(options.paths)))
    if not paths:
        print("warning: no file of a known kind in these folders", file=sys.stderr)
    for path in paths:
        try:
            if options.diff or options.fix:
                diffs += fix_file(path, options)
            findings += [finding for finding, *_ in wanted(path, options)]
        except UnusableFileError as error:
            why = str(error)
        except OSError as error:
            why = f"{path}: {error.strerror}"
        except RecursionError:
            why = f"{path}: nested too deeply, not searched"
        except Exception as error:  # the other files are reported all the same
            why = f"{path}: not searched, {type(error).__name__}: {error}"
        else:
            continue
        print(f"error: {why}", file=sys.stderr)
        status = 2
    if options.diff:
        print(diffs, end="")
        return status or int(bool(diffs) and not options.exit_zero)
    if findings or not status or options.output_format != "text":
        print(FORMATS[options.output_format](findings))
    found_any = any(finding.effect != "note" for finding in findings)
    return status or int(found_any and not options.exit_zero)


def codes(text: str) -> tuple[str, ...]:
    """Read codes, or their beginnings, with commas between.

    Raises:
        ArgumentTypeError: no rule has a code that begins so.
    """
    starts = tuple(text.upper().replace(",", " ").split())
    known = [rule.code for rules in RULES.values() for rule in rules.values()]
    for start in starts:
        if not any(code.startswith(start) for code in known):
            raise argparse.ArgumentTypeError(f"no rule has a code like {start}")
    return starts


def wanted(path: Path, options: argparse.Namespace) -> list[Found]:
    """Return what is found in a file, of the codes that are asked for."""
    return [
        found
        for found in search(read(path))
        if found[0].code.startswith(options.select)
        and not found[0].code.startswith(options.ignore)
    ]


def fix_file(path: Path, options: argparse.Namespace) -> str:
    """Return the diff of what --fix changes in a file; with --fix, change it."""
    from compare.legacy.fix import fixed

    hits = [(hit, block) for _, hit, block in wanted(path, options)]
    old = read_text(path)
    new = fixed(read(path), old, hits)
    if options.fix and new != old:
        write_text(path, new)
    before, after = old.splitlines(keepends=True), new.splitlines(keepends=True)
    return "".join(unified_diff(before, after, f"a/{path}", f"b/{path}"))


def files(paths: list[Path]) -> Iterator[Path]:
    """Yield the files that are named, and those of a known kind in folders."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        for folder, folders, names in os.walk(path):
            folders[:] = sorted(
                name
                for name in folders
                if name[0] != "." and name not in SKIPPED
                if not Path(folder, name, "pyvenv.cfg").exists()
            )
            for file in (Path(folder, name) for name in sorted(names)):
                if file.suffix.lower() in SUFFIXES or PINS.fullmatch(file.name):
                    yield file
