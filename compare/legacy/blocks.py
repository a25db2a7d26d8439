"""Reads the Python in a file: a script, a notebook's cells, or a text's code blocks."""

import io
import json
import re
import textwrap
import tokenize
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from compare.legacy.rules import UnusableFileError

MAX_BYTES = 10_000_000
MAX_CODE = 1_000_000  # a syntax tree takes some hundred times the memory
TEXTS = {".md", ".markdown", ".mdx", ".qmd", ".rmd"}
SUFFIXES = {".py", ".ipynb", *TEXTS}

FENCE = re.compile(r"\s*(?:[-*+]\s+|\d+[.)]\s+)?(?P<fence>`{3,}|~{3,})(.*)")
PYTHON = re.compile(r"\W*(code-cell\s+)?i?py(thon)?[23]?\b", re.IGNORECASE)
LIGHTNING = re.compile(
    r"(?i:lightning)|\bpl\.(Trainer|Callback|callbacks|seed_everything)"
)
LOOKS_LIKE_PYTHON = re.compile(r"\s*(import|from|class|def) \w|.*\bTrainer\(")
OTHER_LANGUAGE = re.compile(r"%%(?!time|capture|prun)")
MAGIC = re.compile(r"\s*[%!?]|.*\w\?\??$")


@dataclass(frozen=True)
class Block:
    """A piece of Python, and the line of the file that each of its lines is from."""

    lines: list[str]
    numbers: list[int]


def read_blocks(path: Path) -> tuple[list[Block], bool]:
    """Return the Python of a file, and whether the file is about Lightning.

    Raises:
        UnusableFileError: the file is no text, too large, or no notebook.
        OSError: it cannot be read.
    """
    if path.stat().st_size > MAX_BYTES:
        raise UnusableFileError(
            f"{path}: more than {MAX_BYTES // 1_000_000} MB, not read"
        )
    data = path.read_bytes()
    if b"\0" in data:
        raise UnusableFileError(f"{path}: a binary file, not read")
    try:
        encoding = tokenize.detect_encoding(io.BytesIO(data).readline)[0]
        text = data.decode(encoding if path.suffix == ".py" else "utf-8-sig")
    except (SyntaxError, UnicodeDecodeError, LookupError):
        raise UnusableFileError(
            f"{path}: a binary file, or not UTF-8: not read"
        ) from None
    text = re.sub(r"\r\n?", "\n", text)
    lines = text.split("\n")
    if path.suffix.lower() == ".ipynb":
        blocks = list(cells(path, text))
    elif path.suffix.lower() in TEXTS:
        blocks = list(fenced(lines, range(1, len(lines) + 1)))
    else:
        blocks = [Block(lines, list(range(1, len(lines) + 1)))]
    if sum(len(line) + 1 for block in blocks for line in block.lines) > MAX_CODE:
        raise UnusableFileError(f"{path}: more than {MAX_CODE // 1_000_000} MB of code")
    return blocks, bool(LIGHTNING.search(text))


def fenced(lines: Sequence[str], numbers: Sequence[int]) -> Iterator[Block]:
    """Yield the Python among the fenced blocks of a text."""
    rest = iter(zip(lines, numbers, strict=True))
    for line, _ in rest:
        opening = FENCE.fullmatch(line)
        if not opening or ("`" in opening[2] and opening["fence"][0] == "`"):
            continue
        fence = opening["fence"]
        closing = re.compile(rf"\s*{fence[0]}{{{len(fence)},}}\s*")
        code: list[str] = []
        where: list[int] = []
        for inner, number in rest:
            if closing.fullmatch(inner):
                break
            code.append(inner)
            where.append(number)
        code = textwrap.dedent("\n".join(code)).split("\n")[: len(where)]
        info = opening[2].strip()
        unnamed = not info and any(map(LOOKS_LIKE_PYTHON.match, code))
        if unnamed or PYTHON.match(info):
            yield without_prompts(code, where)


def without_prompts(code: list[str], where: list[int]) -> Block:
    """Return what was typed, where a block shows a session with its prompts."""
    if not any(line.lstrip().startswith(">>> ") for line in code):
        return Block(code, where)
    typed = [
        (line.lstrip()[4:], number)
        for line, number in zip(code, where, strict=True)
        if re.match(r"\s*(>>>|\.\.\.)( |$)", line)
    ]
    return Block([line for line, _ in typed], [number for _, number in typed])


def cells(path: Path, text: str) -> Iterator[Block]:
    """Yield the Python of a notebook: its cells, and blocks in its texts."""
    try:
        notebook = json.loads(text)
        sheets = notebook.get("worksheets", [notebook])  # until version 3
        found = [cell for sheet in sheets for cell in sheet["cells"]]
        sources = [cell.get("source", cell.get("input", "")) for cell in found]
        kinds = [cell["cell_type"] for cell in found]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UnusableFileError(f"{path}: not a notebook, not read") from None
    strings = Strings(text)
    for kind, source in zip(kinds, sources, strict=True):
        parts = [source] if isinstance(source, str) else list(map(str, source))
        lines, numbers = [], []
        for part, first in zip(parts, strings.find(parts), strict=True):
            several = part.removesuffix("\n").split("\n")
            lines += several
            numbers += [first] * len(several)
        if kind == "markdown":
            yield from fenced(lines, numbers)
        elif kind == "code" and not OTHER_LANGUAGE.match("".join(parts)):
            yield Block(["" if MAGIC.match(line) else line for line in lines], numbers)


class Strings:
    """The strings of a JSON text in their order, each with its line."""

    def __init__(self, text: str) -> None:
        self.values: list[str] = []
        self.numbers: list[int] = []
        self.position = 0
        line, end = 1, 0
        for match in re.finditer(r'"(?:[^"\\]|\\.)*"', text):
            line += text.count("\n", end, match.start())
            end = match.start()
            self.values.append(match[0])
            self.numbers.append(line)

    def find(self, parts: list[str]) -> list[int]:
        """Return the lines on which the next such run of strings begins."""
        size = len(parts)
        for start in range(self.position, len(self.values) - size + 1):
            run = self.values[start : start + size]
            if all(json.loads(s) == part for s, part in zip(run, parts, strict=True)):
                self.position = start + size
                return self.numbers[start : start + size]
        return [1] * size
