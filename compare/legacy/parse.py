"""Makes syntax trees of code that is not valid Python, as excerpts often are not."""

import ast
import re
import warnings
from dataclasses import replace

from compare.legacy.blocks import Block, indent

# A block of n lines is parsed at most this often as a whole, then in parts.
MAX_REPAIRS = 200
PART = 40  # lines
# Makes lines that are indented too far a block of their own.
OPENED = "if True:"
# What word processors make of quotes and spaces.
TYPOGRAPHY = str.maketrans(
    {"\u201c": '"', "\u201d": '"', "\u2018": "'", "\u2019": "'", "\u00a0": " "}
)
DOTS = re.compile(r",\s*\.\.\.\s*,?\s*(?=\)|$)|^\s*\.\.\.,?\s*$")
ERRORS = (SyntaxError, ValueError, RecursionError, MemoryError)
# Lines of IPython and of a shell, with what follows a backslash.
MAGIC = re.compile(
    r"(\s*)(?:[%!?$]|(?:pip3?|conda|apt(?:-get)?|git|cd|wget|mkdir|python3?) +[-\w./~]|"
    r"[\w.]+\?\??$|[\w, ]+ = *[!%])"
)
# A signature without its body, or what a program has printed.
PASTED = re.compile(
    r"\s*((async )?(def|class) [^:#]*(:.*[^:\s].*)?$|[\w.]+\(\w+: |[<>|\[(─━│└├┃=+-]"
    r"|Epoch|\d|[\w ]+: |.*(\u2026|\.\.\.))"
)


def parse(block: Block) -> tuple[list[tuple[ast.Module, Block]], str, int]:
    """Return the trees of a block, and why and where it does not parse, or "".

    With each tree come the lines that it was made of; the tree has the numbers of the
    file's lines, and columns in characters from 1.
    """
    for lines in (block.lines, without_magic(block.lines)):
        try:
            trees = [(tree_of(lines), replace(block, masked=lines))]
        except ERRORS as error:
            message = str(getattr(error, "msg", "") or error or "nested too deeply")
            why = re.sub(r" \(detected at line \d+\)| on line \d+", "", message)
            at = min(getattr(error, "lineno", None) or 1, len(block.lines)) - 1
            where = block.numbers[at] if block.numbers else 1
        else:
            locate(*trees[0])
            return trees, "", 0
    if block.doubtful and len(lines) == 1:
        return [], "", 0  # a word of the text
    pasted = PASTED.match(block.lines[at]) or any(map(DOTS.search, block.lines))
    quiet = block.doubtful or pasted
    lines = dedented([line.translate(TYPOGRAPHY) for line in lines])
    trees = []
    if whole := repaired(lines, block, MAX_REPAIRS):
        trees = [whole]
    else:
        for start in range(0, len(lines), PART):
            part = replace(block, numbers=block.numbers[start : start + PART])
            tree = repaired(dedented(lines[start : start + PART]), part, 4 * PART)
            trees += [tree] if tree else []
    for one in trees:
        locate(*one)
    return trees, "" if quiet else why, where


def locate(tree: ast.Module, block: Block) -> None:
    """Give the nodes of a tree the numbers of the file's lines, and its columns."""
    for node in ast.walk(tree):
        if line := getattr(node, "lineno", 0):
            line = min(line, len(block.lines))
            text = block.lines[line - 1]
            column = node.col_offset  # type: ignore[attr-defined]
            if not text.isascii():
                column = len(text.encode()[:column].decode(errors="ignore"))
            node.lineno = block.numbers[line - 1]  # type: ignore[attr-defined]
            node.col_offset = column + block.column + 1  # type: ignore[attr-defined]
            end = min(getattr(node, "end_lineno", line) or line, len(block.lines))
            node.end_lineno = block.numbers[end - 1]  # type: ignore[attr-defined]


def tree_of(lines: list[str]) -> ast.Module:
    """Parse lines, without the warnings that belong to their author."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse("\n".join(lines))


def without_magic(lines: list[str]) -> list[str]:
    """Return lines with `pass  #number#` for each that is for IPython or a shell."""
    result = []
    continued = False
    for number, line in enumerate(lines):
        if continued:
            line_now = f"#{number}#"
        elif magic := MAGIC.match(line):
            line_now = f"{magic[1]}pass  #{number}#"
        else:
            result.append(line)
            continue
        continued = line.rstrip().endswith("\\")
        result.append(line_now)
    return result


def dedented(lines: list[str]) -> list[str]:
    """Return lines without the indentation that all have, and without tabs."""
    lines = [line.expandtabs(4) for line in lines]
    depth = min((indent(line) for line in lines if is_code(line)), default=0)
    return [line[min(depth, indent(line)) :] for line in lines]


def is_code(line: str) -> bool:
    """Return whether a line is neither blank nor a comment, indented at will."""
    return line.strip() != "" and not line.lstrip().startswith("#")


def repaired(
    lines: list[str], block: Block, limit: int
) -> tuple[ast.Module, Block] | None:
    """Mend or leave out one line after the other, until the rest parses."""
    lines, numbers = list(lines), list(block.numbers)
    tried: set[tuple[int, str]] = set()
    for _ in range(limit):
        try:
            return tree_of(lines), replace(block, lines=lines, numbers=numbers)
        except SyntaxError as error:
            at = min(error.lineno or len(lines), len(lines)) - 1
            message = error.msg
        except (ValueError, RecursionError, MemoryError):
            return None
        while at > 0 and not lines[at].strip() and "indented block" not in message:
            at -= 1
        first_time = (at, lines[at]) not in tried
        tried.add((at, lines[at]))
        mend(lines, numbers, at, message, first_time)
    return None


def mend(
    lines: list[str], numbers: list[int], at: int, message: str, first_time: bool
) -> None:
    """Mend the line that an error is about; leave it out where that did not help."""
    line = lines[at]
    depths = [indent(other) for other in lines[:at] if is_code(other)]
    if header := re.search(r"expected an indented block .* on line (\d+)", message):
        start = int(header[1]) - 1
        depth = indent(lines[start])
        # At the end of a block Python points at the header itself.
        at_header = first_time and (at == start or line.endswith(":"))
        at_end = at_header and not "".join(lines[at + 1 :]).strip()
        where = len(lines) if at_end else at
        lines.insert(where, " " * (depth + 1) + "pass")
        numbers.insert(where, numbers[at])
    elif "unexpected indent" in message and line.strip() == OPENED:
        # The line before belongs to a longer statement: one level further out.
        depth = max((d for d in depths if d < indent(line)), default=0)
        lines[at] = " " * depth + OPENED
    elif "unexpected indent" in message and first_time:
        depth = depths[-1] if depths else 0
        lines.insert(at, " " * depth + OPENED)
        numbers.insert(at, numbers[at])
    elif "unindent does not match" in message and first_time:
        depth = min(depths, key=lambda d: abs(d - indent(line)), default=0)
        lines[at] = " " * depth + line.lstrip()
    elif "follows keyword argument" in message and any(map(DOTS.search, lines)):
        lines[:] = [DOTS.sub("", other) for other in lines]
    elif (opened := re.match(r"'(.)' was never closed", message)) and first_time:
        end = at + 1
        while end < len(lines) and (
            not lines[end].strip() or indent(lines[end]) > indent(line)
        ):
            end += 1
        closing = {"(": ")", "[": "]", "{": "}"}[opened[1]]
        lines.insert(end, " " * indent(line) + closing)
        numbers.insert(end, numbers[end - 1])
    else:
        lines[at] = salvaged(line) if first_time else ""


def salvaged(line: str) -> str:
    """Return what can be read of a line that is not valid: a header, or a call."""
    blank = " " * indent(line)
    if header := re.match(r"\s*def (\w+)\s*\(", line):
        return f"{blank}def {header[1]}(self, *args):"
    call = re.search(r"([\w.]*\bTrainer)\((.*)", line)
    if call and not re.search(r"\w: ", call[2]):  # a signature has annotations
        names = dict.fromkeys(re.findall(r"\b([a-z]\w*)\s*=(?!=)", call[2]))
        return f"{blank}{call[1]}({', '.join(f'{name}=...' for name in names)})"
    return ""
