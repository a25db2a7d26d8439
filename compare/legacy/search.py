"""Searches one file."""

import ast
from collections.abc import Iterator
from pathlib import Path

from compare.legacy.blocks import SUFFIXES, Block, read_blocks
from compare.legacy.classes import Function
from compare.legacy.finder import Finder
from compare.legacy.parse import parse
from compare.legacy.rules import Finding, UnusableFileError

# At the end of a line: nothing is reported of it, or of the class that it begins.
ON_PURPOSE = "# legacy: on purpose"


def search(path: Path) -> list[Finding]:
    """Return what is found in a file, in the order of its lines.

    Raises:
        UnusableFileError: the file is of another kind, binary, too large or nested too
            deeply.
        OSError: it cannot be read.
    """
    if path.suffix.lower() not in SUFFIXES:
        known = " ".join(sorted(SUFFIXES))
        raise UnusableFileError(f"{path}: not one of {known}")
    blocks, mentions_lightning = read_blocks(path)
    findings, parsed = [], []
    for block in blocks:
        pieces, why, line = parse(block)
        parsed += pieces
        if why:
            found = f"does not parse as a whole: {why}"
            now = "valid Python 3; what can be read of it is searched"
            findings.append(Finding(str(path), line, found, now, "", "raises"))
    trees = [tree for tree, _ in parsed]
    is_script = path.suffix.lower() == ".py"
    if mentions_lightning and not (is_script and imports_others_only(trees)):
        try:
            findings += in_trees(str(path), parsed)
        except RecursionError:
            raise UnusableFileError(
                f"{path}: nested too deeply, not searched"
            ) from None
    return sorted(findings, key=lambda finding: finding.line)


def imports_others_only(trees: list[ast.Module]) -> bool:
    """Return whether a script imports something, and nothing of Lightning."""
    modules = []
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules.append(node.module or "")
    packages = {module.split(".")[0] for module in modules}
    return bool(packages) and not packages & {"lightning", "pytorch_lightning"}


def in_trees(file: str, parsed: list[tuple[ast.Module, Block]]) -> Iterator[Finding]:
    """Yield what is found in the trees of one file, which share their names."""
    finder = Finder([tree for tree, _ in parsed])
    for tree, block in parsed:
        meant = on_purpose(tree, block.lines)
        for hit in finder.search(tree):
            rule = hit.rule
            found, now = rule.found, rule.now
            if hit.details:
                found, now = found.format(*hit.details), now.format(*hit.details)
            if hit.line not in meant:
                line = block.numbers[hit.line - 1]
                yield Finding(file, line, found, now, rule.since, rule.effect)


def on_purpose(tree: ast.Module, lines: list[str]) -> set[int]:
    """Return the lines that are old on purpose."""
    marked = {n for n, line in enumerate(lines, 1) if line.endswith(ON_PURPOSE)}
    if marked:
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef | Function) and node.lineno in marked:
                marked |= set(range(node.lineno, (node.end_lineno or 0) + 1))
    return marked
