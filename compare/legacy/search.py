"""Searches one document."""

import ast
import re
from collections.abc import Iterable, Iterator

from compare.legacy.blocks import PINS, Block, Document
from compare.legacy.classes import Function
from compare.legacy.finder import Finder, Hit
from compare.legacy.parse import parse
from compare.legacy.rules import RULES, Finding

# Nothing is reported of a line, or of the class or function that it begins.
ON_PURPOSE = re.compile(r"#\s*legacy: on purpose\b")
NOQA = re.compile(r"#\s*noqa(?::\s*([A-Z]+\d+(?:[\s,]+[A-Z]+\d+)*))?", re.IGNORECASE)
PACKAGE = r"\b(?:pytorch[-_]lightning|lightning)(?:\[[\w,\s-]+\])?"
PIN = re.compile(
    rf"{PACKAGE}(?:\s*>=?\s*[\d.]+\s*,)?\s*"
    r"(?P<how>===?|~=|<=?|(?<=[a-z])=|(?<=[a-z] )=(?= ?[\"']))\s*"
    r"[\"']?\^?(?P<version>\d[\w.]*)"
)
ALL_MODULES = {"lightning", "pytorch_lightning"}


Found = tuple[Finding, Hit, Block | None]


def search(document: Document) -> list[Found]:
    """Return what is found in a document, in the order of its lines.

    With each finding come the hit and, where the block can be changed, the block.

    Raises:
        RecursionError: the code is nested too deeply.
    """
    found = list(pins(document))
    parsed: list[tuple[ast.Module, Block, bool]] = []
    if document.about_lightning:
        for block in document.blocks:
            tree, piece, why, line = parse(block)
            if tree:
                parsed.append((tree, piece, piece.masked is not None))
            if why:
                found.append(Hit(line, 1, RULES["slip"]["unparsed"], (why,)))
    trees = [tree for tree, _, _ in parsed]
    is_script = document.path.suffix.lower() == ".py"
    if not (is_script and imports_others_only(trees)):
        finder = Finder(trees)
        for tree, _, exact in parsed:
            found += finder.search(tree, exact)
    owners = {
        number: block
        for _, block, exact in parsed
        if exact and is_as_written(block, document)
        for number in block.numbers
    }
    silent = silenced(document, trees)
    result = []
    for hit in dict.fromkeys(found):
        rule = hit.rule
        codes = silent.get(hit.line, set())
        if rule.code in codes or "" in codes:
            continue
        shown, now = rule.found, rule.now
        if hit.details:
            shown, now = shown.format(*hit.details), now.format(*hit.details)
        cell, line = document.places.get(hit.line, (None, hit.line))
        finding = Finding(
            str(document.path), cell, line, hit.column, rule.code, rule.effect,
            shown, now, hit.since or rule.since, hit.skeleton,
        )  # fmt: skip
        result.append((finding, hit, owners.get(hit.line)))
    return sorted(result, key=lambda one: (one[1].line, one[1].column))


def is_as_written(block: Block, document: Document) -> bool:
    """Return whether a block is whole lines of a file, with the same before each."""
    lines = [document.lines[number] for number in block.numbers]
    whole = all(
        line[block.column :] == code and not line[: block.column].strip(" >")
        for line, code in zip(lines, block.lines, strict=True)
        if code.strip()
    )
    first = block.numbers[0] if block.numbers else 0
    return whole and block.numbers == list(range(first, first + len(lines)))


def imports_others_only(trees: Iterable[ast.Module]) -> bool:
    """Return whether a script imports something, and nothing of Lightning."""
    modules = []
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules.append(node.module or "")
    packages = {module.split(".")[0] for module in modules}
    return bool(packages) and not packages & ALL_MODULES


def silenced(document: Document, trees: Iterable[ast.Module]) -> dict[int, set[str]]:
    """Return the codes that each line silences; "" stands for all."""
    silent: dict[int, set[str]] = {}
    purposes = set()
    for number, line in document.lines.items():
        if "#" in line and (noqa := NOQA.search(line)):
            codes = re.findall(r"[A-Z]+\d+", (noqa[1] or "").upper())
            silent[number] = set(codes or [""])
        if ON_PURPOSE.search(line):
            silent[number] = {""}
            purposes.add(number)
    for node in (node for tree in trees for node in ast.walk(tree) if purposes):
        if isinstance(node, ast.ClassDef | Function) and node.lineno in purposes:
            every = range(node.lineno, (node.end_lineno or 0) + 1)
            silent |= {number: {""} for number in every}
    return silent


def pins(document: Document) -> Iterator[Hit]:
    """Yield the versions of Lightning that a line asks for, if they are unsafe."""
    is_list = PINS.fullmatch(document.path.name)
    for number, line in document.lines.items():
        for pin in PIN.finditer(line) if "ightning" in line else ():
            before = line[: pin.start()]
            said = re.search(r"install\b|[\"'`]\s*$|^[\s>-]*$", before)
            if (not is_list and not said) or before.strip()[:1] == "#":
                continue
            asked = [int(n) for n in re.findall(r"\d+", pin["version"])[:3]]
            version = [*asked, 0, 0][:3]
            if pin["how"] == "~=":  # the last number that it names is free
                version[max(len(asked), 2) - 1 :] = [99, 99]
            elif pin["how"] == "<":
                version[-1] -= 1
            if version in ([2, 6, 2], [2, 6, 3]) and "=" in pin["how"]:
                name = "compromised"
            elif version[:3] < [2, 6, 6]:
                name = "unsafe_checkpoint"
            else:
                continue
            shown = " ".join(pin[0].split())
            yield Hit(number, pin.start() + 1, RULES["slip"][name], (shown,))
