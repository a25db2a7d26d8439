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
MARKDOWN = {".md", ".markdown", ".mdx", ".qmd", ".rmd"}
SUFFIXES = {".py", ".ipynb", ".rst", *MARKDOWN}
# Files that name packages and their versions; in folders only those called so.
PINS = re.compile(r"(.*requirements.*|constraints.*)\.(txt|in)|environment.*\.ya?ml|"
                  r"pyproject\.toml|setup\.cfg|Pipfile")  # fmt: skip

FENCE = re.compile(r"([\s>]*)(?:[-*+]\s+|\d+[.)]\s+)?(?P<fence>`{3,}|~{3,})(.*)")
DIRECTIVE = re.compile(
    r"(\s*)(?:\.\. (?:code(?:-block)?|sourcecode|testcode|testsetup|ipython\w*|jupyter-"
    r"execute|code-cell)::\s*(.*)|(?!\.\. ).*::)$"
)
PYTHON = re.compile(r"\W*(code-cell\s+)?i?py(thon|con)?[23]?\b", re.IGNORECASE)
OLD_OPTIONS = r"gpus|max_(nb_)?epochs|tpu_cores|distributed_backend|accelerator"
LIGHTNING = re.compile(
    r"(?i:lightning)|\bpl\.(Trainer|Callback|callbacks|seed_everything)"
    rf"|\bTrainer\([^)]{{0,500}}\b({OLD_OPTIONS})\s*=|def configure_optimizers\(self"
)
LOOKS_LIKE_PYTHON = re.compile(
    r"\s*(>>> |from [\w.]+ import |import [\w.]+( as \w+)?$|(class|def) \w+.*:|@\w)"
    r"|\s*(return |[\w.]+ ?= ?)?[\w.]*\b(Trainer|LightningCLI)\("
)
INLINE = re.compile(r"(?<!`)(``?)(?!`)([^`\n]*[(.][^`\n]*)\1(?!`)")
# A text that says that something is old.
TOLD = re.compile(r"(?i)remov|deprecat|renam|replac|no longer|instead|used to be")
CELL_OF_OTHERS = re.compile(
    r"\s*%%(?!time|capture|prun|writefile\s.*\.py\b|file\s.*\.py\b)"
)


@dataclass(frozen=True)
class Block:
    """A piece of Python, and the number of the line that each of its lines is from.

    Attributes:
        column: how many characters of each line come before the code.
        doubtful: it may be something else than Python.
        cell: the number of the notebook's cell, from 1.
        masked: its lines without those of IPython, where it has some.
    """

    lines: list[str]
    numbers: list[int]
    column: int = 0
    doubtful: bool = False
    cell: int | None = None
    masked: list[str] | None = None


@dataclass(frozen=True)
class Document:
    """The content of a file.

    Attributes:
        places: the cell and the line in it for each number of a notebook's line.
        lines: all text by the numbers of its lines.
    """

    path: Path
    blocks: list[Block]
    lines: dict[int, str]
    places: dict[int, tuple[int | None, int]]
    about_lightning: bool


def read(path: Path) -> Document:
    """Read a file.

    Raises:
        UnusableFileError: the file is no text, too large, of another kind, or no
            notebook.
        OSError: it cannot be read.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES and not PINS.fullmatch(path.name):
        known = " ".join(sorted(SUFFIXES))
        raise UnusableFileError(f"{path}: not one of {known}, no list of packages")
    text = read_text(path)
    numbered = dict(enumerate(text.split("\n"), 1))
    places: dict[int, tuple[int | None, int]] = {}
    lines, numbers = list(numbered.values()), list(numbered)
    blocks: list[Block] = []
    if suffix == ".ipynb":
        for n, (kind, source) in enumerate(cells(path, text), 1):
            lines = source.split("\n")
            numbers = list(range(len(places) + 1, len(places) + len(lines) + 1))
            places |= {number: (n, i) for i, number in enumerate(numbers, 1)}
            if kind == "markdown":
                blocks += fenced(lines, numbers)
            elif kind == "code" and not CELL_OF_OTHERS.match(source):
                blocks.append(Block(lines, numbers, cell=n))
            numbered = numbered if n > 1 else {}
            numbered |= dict(zip(numbers, lines, strict=True))
    elif suffix in MARKDOWN:
        blocks = list(fenced(lines, numbers))
    elif suffix == ".rst":
        blocks = list(directives(lines, numbers))
    elif suffix == ".py":
        blocks = [Block(lines, numbers)]
    if sum(len(line) + 1 for block in blocks for line in block.lines) > MAX_CODE:
        raise UnusableFileError(f"{path}: more than {MAX_CODE // 1_000_000} MB of code")
    return Document(path, blocks, numbered, places, bool(LIGHTNING.search(text)))


def read_text(path: Path) -> str:
    """Return the text of a file, with newlines as line ends."""
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
    return re.sub(r"\r\n?", "\n", text)


def write_text(path: Path, text: str) -> None:
    """Write a file anew, with the encoding and the line ends that it has."""
    data = path.read_bytes()
    encoding = tokenize.detect_encoding(io.BytesIO(data).readline)[0]
    if path.suffix != ".py":
        encoding = "utf-8-sig" if data.startswith(b"\xef\xbb\xbf") else "utf-8"
    end = next((e for e in ("\r\n", "\r") if e.encode() in data), "\n")
    path.write_bytes(text.replace("\n", end).encode(encoding))


def cells(path: Path, text: str) -> Iterator[tuple[str, str]]:
    """Yield the kind and the source of each cell of a notebook."""
    try:
        notebook = json.loads(text)
        sheets = notebook.get("worksheets", [notebook])  # until version 3
        for cell in [cell for sheet in sheets for cell in sheet["cells"]]:
            source = cell.get("source", cell.get("input", ""))
            yield cell["cell_type"], "".join(map(str, source))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UnusableFileError(f"{path}: not a notebook, not read") from None


def fenced(lines: Sequence[str], numbers: Sequence[int]) -> Iterator[Block]:
    """Yield the Python in the fenced blocks of a text, and that inside its lines."""
    rest = iter(zip(lines, numbers, strict=True))
    for line, number in rest:
        opening = FENCE.fullmatch(line)
        if not opening or ("`" in opening[3] and opening["fence"][0] == "`"):
            yield from inline(line, number)
            continue
        fence = opening["fence"]
        closing = re.compile(rf"[\s>]*{fence[0]}{{{len(fence)},}}\s*")
        code: list[str] = []
        where: list[int] = []
        for inner, at in rest:
            if closing.fullmatch(inner):
                break
            code.append(inner)
            where.append(at)
        if ">" in opening[1]:  # a quotation
            code = [re.sub(r"^[\s>]*?> ?", lambda m: " " * len(m[0]), c) for c in code]
        yield from block(code, where, opening[3].strip())


def directives(lines: Sequence[str], numbers: Sequence[int]) -> Iterator[Block]:
    """Yield the Python in the blocks of reStructuredText, and that in its lines."""
    at = 0
    while at < len(lines):
        opening = DIRECTIVE.fullmatch(lines[at].rstrip())
        session = lines[at].lstrip().startswith(">>> ")
        yield from () if opening or session else inline(lines[at], numbers[at])
        start = at if session else at + 1
        at += 1
        if not opening and not session:
            continue
        depth = len(opening[1]) if opening else -1
        while at < len(lines) and (
            lines[at].strip() if session
            else not lines[at].strip() or indent(lines[at]) > depth
        ):  # fmt: skip
            at += 1
        while start < at and lines[start].strip().startswith(":"):
            start += 1  # the directive's options
        code = list(lines[start:at])
        named = opening[2] if opening and opening[2] is not None else ""
        yield from block(code, list(numbers[start:at]), named)


def indent(line: str) -> int:
    """Return how far a line is indented."""
    return len(line) - len(line.lstrip(" "))


def block(code: list[str], where: list[int], language: str) -> Iterator[Block]:
    """Yield what a text shows as code, if it can be Python."""
    named = bool(PYTHON.match(language))
    if re.match(r"\W*(diff|patch)\b", language):
        code = ["" if line.lstrip().startswith("-") else line for line in code]
        code = [re.sub(r"^(\s*)\+", r"\1 ", line) for line in code]
    if not named and not any(map(LOOKS_LIKE_PYTHON.match, code)):
        return
    flush = textwrap.dedent("\n".join(code)).split("\n")[: len(where)]
    column = max((len(a) - len(b) for a, b in zip(code, flush, strict=True)), default=0)
    if any(line.lstrip().startswith(">>> ") for line in flush):  # a session
        typed = [
            (line.lstrip()[4:], number)
            for line, number in zip(flush, where, strict=True)
            if re.match(r"\s*(>>>|\.\.\.)( |$)", line)
        ]
        flush, where = [line for line, _ in typed], [number for _, number in typed]
        column += 4
    yield Block(flush, where, column, not named)


def inline(line: str, number: int) -> Iterator[Block]:
    """Yield the code inside a line of text."""
    for code in () if TOLD.search(line) else INLINE.finditer(line):
        yield Block([code[2].strip()], [number], code.start(2), True)
