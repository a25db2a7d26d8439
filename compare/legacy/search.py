"""Search one document."""

import ast
import re
from collections.abc import Iterable, Iterator

from compare.legacy.blocks import PINS, Block, Document
from compare.legacy.finder import Finder, Hit
from compare.legacy.parse import parse
from compare.legacy.rules import RULES, Finding

# A comment that silences codes on its line, or all.
SILENCE = re.compile(
    r"#\s*(?:legacy: on purpose\b"
    r"|noqa\b(?::\s*(?P<codes>[A-Z]+\d+(?:[\s,]+[A-Z]+\d+)*))?)",
    re.IGNORECASE,
)
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
    parsed: list[tuple[ast.Module, Block]] = []
    for block in document.blocks if document.about_lightning else ():
        tree, piece, why, line = parse(block)
        if tree:
            parsed.append((tree, piece))
        if why:
            found.append(Hit(line, 1, RULES["slip"]["unparsed"], (why,)))
    trees = [tree for tree, _ in parsed]
    if document.path.suffix.lower() != ".py" or not imports_others_only(trees):
        finder = Finder(trees)
        for tree, block in parsed:
            found += finder.search(tree, exact=block.masked is not None)
    owners = {
        number: block
        for _, block in parsed
        if block.masked and is_as_written(block, document)
        for number in block.numbers
    }
    result = []
    for hit in dict.fromkeys(found):
        rule, details = hit.rule, hit.details
        if not is_silenced(document.lines.get(hit.line, ""), rule.code):
            cell, line = document.places.get(hit.line, (None, hit.line))
            finding = Finding(
                file=str(document.path),
                cell=cell,
                line=line,
                column=hit.column,
                code=rule.code,
                effect=rule.effect,
                found=rule.found.format(*details) if details else rule.found,
                now=rule.now.format(*details) if details else rule.now,
                since=hit.since or rule.since,
                skeleton=hit.skeleton,
            )
            result.append((finding, hit, owners.get(hit.line)))
    return sorted(result, key=lambda one: (one[1].line, one[1].column))


def is_silenced(line: str, code: str) -> bool:
    """Return whether a comment on a line silences a code."""
    comment = SILENCE.search(line)
    if comment is None:
        return False
    return not comment["codes"] or code in comment["codes"].upper()


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
