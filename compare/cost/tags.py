"""The tags in the comments of a file, such as `# [device]`, and whose they are."""

import ast
import io
import re
import tokenize
from collections import defaultdict

TAG = re.compile(r"(?<!\w)\[([a-z_]+)\]")  # not that of `type: ignore[override]`

Lines = dict[str, dict[int, str]]
"""For each tag, the lines that it stands on, by their number."""
OfNode = dict[ast.AST, set[str]]
"""The tags of each statement that has any."""


def find_tags(content: bytes, tree: ast.Module) -> tuple[Lines, OfNode]:
    """Return the lines of each tag, and whose they are.

    A comment at the end of a line belongs to the innermost statement there. A comment
    on a line of its own belongs to the statement that begins right below it, or that
    goes on there; above an empty line it belongs to none.
    """
    innermost: dict[int, ast.AST] = {}
    for node in ast.walk(tree):  # outer ones first
        if isinstance(node, ast.stmt):
            lines = range(first_line(node), (node.end_lineno or 0) + 1)
            innermost.update(dict.fromkeys(lines, node))
    of_tag: Lines = defaultdict(dict)
    of_node: OfNode = defaultdict(set)
    above: set[str] = set()  # tags of the comments right above
    for number, (code, comment) in enumerate(split_lines(content), start=1):
        tags = TAG.findall(comment)
        for tag in tags:
            of_tag[tag][number] = (code + comment).strip()
        if comment and not code.strip():
            above.update(tags)
            continue
        if code.strip():
            of_node[innermost[number]].update(tags, above)
        above = set()
    return dict(of_tag), of_node


def split_lines(content: bytes) -> list[tuple[str, str]]:
    """Return the code and the comment of every line."""
    encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
    lines = [(line, "") for line in io.StringIO(content.decode(encoding))]
    for token in tokenize.tokenize(io.BytesIO(content).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            code, _ = lines[row - 1]
            lines[row - 1] = code[:column], token.string
    return lines


def first_line(node: ast.AST) -> int:
    """Return the number of a statement's first line, that of a decorator included."""
    decorators = getattr(node, "decorator_list", [])
    return min(one.lineno for one in (node, *decorators))
