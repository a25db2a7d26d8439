"""Make syntax trees of code that is not valid Python, as excerpts often are not."""

import ast
import re
import warnings
from dataclasses import replace

from compare.legacy.blocks import Block

MAX_REPAIRS = 200
# What word processors make of quotes and spaces.
TYPOGRAPHY = str.maketrans("\u201c\u201d\u2018\u2019\u00a0", "\"\"'' ")
DOTS = re.compile(r",\s*\.\.\.\s*,?\s*(?=\)|$)|^\s*\.\.\.,?\s*$")
# Lines of IPython and of a shell.
MAGIC = re.compile(
    r"(\s*)(?:[%!?$]|(?:pip3?|conda|apt(?:-get)?|git|cd|wget|mkdir|python3?) +[-\w./~]|"
    r"[\w.]+\?\??$|[\w, ]+ = *[!%])"
)
# A signature without its body, or what a program has printed.
PASTED = re.compile(
    r"\s*((async )?(def|class) [^:#]*(:.*[^:\s].*)?$|[\w.]+\(\w+: |[<>|\[(─━│└├┃=+-]"
    r"|Epoch|\d|[\w ]+: |.*(\u2026|\.\.\.))"
)


def parse(block: Block) -> tuple[ast.Module | None, Block, str, int]:
    """Parse a block.

    Returns:
        its tree, with the numbers of the file's lines and columns in characters from 1;
        the block, with the lines that the tree is made of; why and where it does not
        parse, or "".
    """
    for lines in (block.lines, without_magic(block.lines)):
        try:
            tree = tree_of(lines)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            why = getattr(error, "msg", "") or "nested too deeply"
            at = min(getattr(error, "lineno", None) or 1, len(block.lines)) - 1
        else:
            made = replace(block, masked=lines)
            return located(tree, made), made, "", 0
    if block.doubtful and len(lines) == 1:
        return None, block, "", 0  # a word of the text
    where = block.numbers[at] if block.numbers else 1
    why = re.sub(r" \(detected at line \d+\)| on line \d+", "", why)
    if block.doubtful or PASTED.match(block.lines[at]) or any(map(DOTS.search, lines)):
        why = ""  # no fault of the code
    repaired_tree, made = repaired(lines, block)
    return repaired_tree and located(repaired_tree, made), made, why, where


def tree_of(lines: list[str]) -> ast.Module:
    """Parse lines, without the warnings that belong to their author."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse("\n".join(lines))


def located(tree: ast.Module, block: Block) -> ast.Module:
    """Give the nodes of a tree the numbers of the file's lines, and its columns."""
    last = len(block.lines)
    for node in ast.walk(tree):
        if isinstance(node, ast.expr | ast.stmt | ast.keyword | ast.alias | ast.arg):
            text = block.lines[min(node.lineno, last) - 1]
            before = text.encode()[: node.col_offset].decode(errors="ignore")
            node.col_offset = len(before) + block.column + 1
            node.lineno = block.numbers[min(node.lineno, last) - 1]
            node.end_lineno = block.numbers[min(node.end_lineno or 1, last) - 1]
    return tree


def without_magic(lines: list[str]) -> list[str]:
    """Return lines with `pass  #number#` for each that is for IPython or a shell."""
    result = []
    continued = False
    for number, line in enumerate(lines):
        magic = MAGIC.match(line)
        if continued:
            result.append(f"#{number}#")
        else:
            result.append(f"{magic[1]}pass  #{number}#" if magic else line)
        continued = line.rstrip().endswith("\\") and bool(continued or magic)
    return result


def indent(line: str) -> int:
    """Return how far a line is indented."""
    return len(line) - len(line.lstrip(" "))


def is_code(line: str) -> bool:
    """Return whether a line is neither blank nor a comment, indented at will."""
    return line.strip() != "" and not line.lstrip().startswith("#")


def repaired(lines: list[str], block: Block) -> tuple[ast.Module | None, Block]:
    """Mend or leave out one line after the other, until the rest parses."""
    lines = [line.translate(TYPOGRAPHY).expandtabs(4) for line in lines]
    common = min((indent(line) for line in lines if is_code(line)), default=0)
    lines = [line[min(common, indent(line)) :] for line in lines]
    numbers = list(block.numbers)
    tried: set[tuple[int, str]] = set()
    for _ in range(MAX_REPAIRS):
        try:
            tree = tree_of(lines)
        except SyntaxError as error:
            at = min(error.lineno or len(lines), len(lines)) - 1
            while at > 0 and not lines[at].strip():
                at -= 1
            first_time = (at, lines[at]) not in tried
            tried.add((at, lines[at]))
            mend(lines, numbers, at, error.msg if first_time else "")
        except (ValueError, RecursionError, MemoryError):
            break
        else:
            return tree, replace(block, lines=lines, numbers=numbers)
    return None, block


def mend(lines: list[str], numbers: list[int], at: int, message: str) -> None:
    """Mend the line that an error is about; leave it out where there is no message."""
    line = lines[at]
    depths = [indent(other) for other in lines[:at] if is_code(other)]
    new = None
    if header := re.search(r"expected an indented block .* on line (\d+)", message):
        end = int(header[1])
        new = " " * (indent(lines[end - 1]) + 1) + "pass"
    elif unclosed := re.match(r"'(.)' was never closed", message):
        end = at + 1
        while lines[end:] and (indent(lines[end]) > indent(line) or not lines[end]):
            end += 1
        new = " " * indent(line) + {"(": ")", "[": "]", "{": "}"}[unclosed[1]]
    if new is not None:
        lines.insert(end, new)
        numbers.insert(end, numbers[end - 1])
    elif "indent" in message:
        depth = min(depths, key=lambda d: abs(d - indent(line)), default=0)
        lines[at] = " " * depth + line.lstrip()
    elif "follows keyword argument" in message and any(map(DOTS.search, lines)):
        lines[:] = [DOTS.sub("", other) for other in lines]
    else:
        lines[at] = salvaged(line) if message else ""


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
