"""Read the Python in a file: a script, a notebook's cells, or a text's code blocks."""

import json
import re
import shutil
import textwrap
import tokenize
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from compare.legacy.rules import UnusableFileError

MAX_BYTES = 10_000_000
MARKDOWN = {".md", ".markdown", ".mdx", ".qmd", ".rmd"}
SUFFIXES = {".py", ".ipynb", ".rst", *MARKDOWN}
# Files that name packages and their versions; in folders only those called so.
PINS = re.compile(
    r"(.*requirements.*|constraints.*)\.(txt|in)|environment.*\.ya?ml"
    r"|pyproject\.toml|setup\.cfg|Pipfile"
)

INLINE = r"(?<!`)(?P<ticks>``?)(?!`)(?P<word>[^`\n]+)(?P=ticks)(?!`)"
FENCED = re.compile(
    r"^(?P<mark>[ \t>]*)(?:[-*+][ \t]+|\d+[.)][ \t]+)?"
    r"(?P<fence>`{3,}(?=[^`\n]*$)|~{3,})(?P<language>.*)\n"
    r"(?P<code>(?:.*\n)*?)(?:[ \t>]*(?P=fence)[`~]*[ \t]*$|\Z)"
    rf"|{INLINE}",
    re.MULTILINE,
)
DIRECTIVE = re.compile(
    r"^(?P<depth>[ ]*)(?:\.\.[ ](?:code|code-block|sourcecode|testcode|testsetup"
    r"|ipython\w*|jupyter-execute|code-cell)::(?P<language>.*)|(?!\.\.[ ]).*::[ ]*)\n"
    r"(?:[ ]+:.*\n)*(?P<code>(?:(?P=depth)[ ]+\S.*\n|[ \t]*\n)*)"
    r"|^(?P<session>[ ]*>>>[ ].*\n(?:.*\S.*\n)*)"
    rf"|{INLINE}",
    re.MULTILINE,
)
PYTHON = re.compile(r"\W*(code-cell\s+)?i?py(thon|con)?[23]?\b", re.IGNORECASE)
OLD_OPTIONS = r"gpus|max_(nb_)?epochs|tpu_cores|distributed_backend|accelerator"
LIGHTNING = re.compile(
    r"(?i:lightning)|\bpl\.(Trainer|Callback|callbacks|seed_everything)"
    rf"|\bTrainer\([^)]{{0,500}}\b({OLD_OPTIONS})\s*=|def configure_optimizers\(self"
)
LOOKS_LIKE_PYTHON = re.compile(
    r"^\s*(>>> |from [\w.]+ import |import [\w.]+( as \w+)?$|(class|def) \w+.*:|@\w)"
    r"|^\s*(return |[\w.]+ ?= ?)?[\w.]*\b(Trainer|LightningCLI)\(",
    re.MULTILINE,
)
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
        masked: its lines without those of IPython, where it has some.
    """

    lines: list[str]
    numbers: list[int]
    column: int = 0
    doubtful: bool = False
    masked: list[str] | None = None


@dataclass(frozen=True)
class Document:
    """The content of a file.

    Attributes:
        lines: all text by the numbers of its lines; of a notebook, of all its cells.
        places: the cell and the line in it for each number of a notebook's line.
    """

    path: Path
    blocks: list[Block]
    lines: dict[int, str]
    places: dict[int, tuple[int, int]]
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
    lines = text.split("\n")
    numbers = list(range(1, len(lines) + 1))
    places: dict[int, tuple[int, int]] = {}
    blocks: list[Block] = []
    if suffix == ".ipynb":
        lines = []
        for cell, (kind, source) in enumerate(cells(path, text), 1):
            own = source.split("\n")
            numbers = list(range(len(lines) + 1, len(lines) + len(own) + 1))
            places |= {number: (cell, line) for line, number in enumerate(numbers, 1)}
            lines += own
            if kind == "markdown":
                blocks += blocks_in(own, numbers, FENCED)
            elif kind == "code" and not CELL_OF_OTHERS.match(source):
                blocks.append(Block(own, numbers))
        text = "\n".join(lines)
    elif suffix == ".py":
        blocks = [Block(lines, numbers)]
    elif suffix in (".rst", *MARKDOWN):
        pattern = DIRECTIVE if suffix == ".rst" else FENCED
        blocks = list(blocks_in(lines, numbers, pattern))
    about_lightning = bool(LIGHTNING.search(text))
    return Document(path, blocks, dict(enumerate(lines, 1)), places, about_lightning)


def read_text(path: Path) -> str:
    """Return the text of a file, with newlines as line ends."""
    if path.stat().st_size > MAX_BYTES:
        raise UnusableFileError(f"{path}: more than 10 MB, not read")
    try:
        with tokenize.open(path) as file:
            text = file.read()
    except (SyntaxError, UnicodeDecodeError):
        text = "\0"
    if "\0" in text:
        raise UnusableFileError(f"{path}: a binary file, or not UTF-8: not read")
    return text


def write_text(path: Path, text: str) -> None:
    """Write a file anew, with the encoding and the line ends that it has.

    Raises:
        OSError: it cannot be written, and is as it was.
    """
    with tokenize.open(path) as file:
        file.read()
    ends = file.newlines if isinstance(file.newlines, str) else "\n"
    path = path.resolve()
    new = path.with_name(f"{path.name}.new")
    try:
        new.write_text(text, file.encoding, newline=ends)
        shutil.copymode(path, new)
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def cells(path: Path, text: str) -> Iterator[tuple[str, str]]:
    """Yield the kind and the source of each cell of a notebook."""
    try:
        for cell in json.loads(text)["cells"]:
            yield cell["cell_type"], "".join(map(str, cell["source"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        raise UnusableFileError(f"{path}: not a notebook, not read") from None


def blocks_in(
    lines: Sequence[str], numbers: Sequence[int], pattern: re.Pattern[str]
) -> Iterator[Block]:
    """Yield the Python in the blocks of a text, and that inside its lines."""
    text = "\n".join(lines) + "\n"
    for match in pattern.finditer(text):
        found = match.groupdict()
        kind = next(k for k in ("word", "session", "code") if found.get(k) is not None)
        start = text.count("\n", 0, match.start(kind))
        if kind == "word":
            column = match.start("word") - text.rfind("\n", 0, match.start("word")) - 1
            code = match["word"]
            if re.search(r"[(.]", code) and not TOLD.search(lines[start]):
                column += len(code) - len(code.lstrip())
                yield Block([code.strip()], [numbers[start]], column, doubtful=True)
            continue
        shown = match[kind].split("\n")[:-1]
        if ">" in found.get("mark", ""):  # a quotation
            shown = [
                re.sub(r"^[\s>]*?> ?", lambda m: " " * len(m[0]), s) for s in shown
            ]
        where = list(numbers[start : start + len(shown)])
        yield from block(shown, where, found["language"] or "")


def block(code: list[str], where: list[int], language: str) -> Iterator[Block]:
    """Yield what a text shows as code, if it can be Python."""
    if re.match(r"\W*(diff|patch)\b", language):
        code = ["" if line.lstrip().startswith("-") else line for line in code]
        code = [re.sub(r"^(\s*)\+", r"\1 ", line) for line in code]
    named = bool(PYTHON.match(language))
    first = LOOKS_LIKE_PYTHON.search("\n".join(code))
    if not named and not first:
        return
    flush = textwrap.dedent("\n".join(code)).split("\n")
    column = max((len(a) - len(b) for a, b in zip(code, flush, strict=True)), default=0)
    if first and first[0].endswith(">>> "):  # a session
        typed = [n for n, x in enumerate(flush) if re.match(r"(>>>|\.\.\.)( |$)", x)]
        flush, where = [flush[n][4:] for n in typed], [where[n] for n in typed]
        column += 4
    yield Block(flush, where, column, not named)
