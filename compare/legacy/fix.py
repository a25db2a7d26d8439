"""Changes what keeps its meaning, with LibCST, so that comments and layout stay."""

import ast
import json
import re
from collections.abc import Iterable, Iterator
from difflib import SequenceMatcher
from functools import partial

import libcst as cst
from libcst.metadata import MetadataWrapper, PositionProvider

from compare.legacy.blocks import Block, Document
from compare.legacy.finder import IMPORT, Hit
from compare.legacy.names import canonical
from compare.legacy.rules import home_of, missing_part

CKPT = "Trainer.resume_from_checkpoint"
Place = tuple[int, int]


def fixed(
    document: Document, text: str, hits: Iterable[tuple[Hit, Block | None]]
) -> str:
    """Return the text of a document with all changes made that keep its meaning.

    A block of which a change would lose a comment, or that would not parse any more, is
    left as it is.
    """
    edits: dict[int, tuple[Block, dict[Place, str]]] = {}
    for hit, block in hits:
        if block and (hit.fix is not None or hit.rule.old == CKPT):
            row = block.numbers.index(hit.line) + 1
            place = (row, hit.column - 1 - block.column)
            change = CKPT if hit.rule.old == CKPT else hit.fix or ""
            edits.setdefault(block.numbers[0], (block, {}))[1][place] = change
    new = {first: changed(block, places) for first, (block, places) in edits.items()}
    if document.places:
        return in_notebook(document, text, new)
    lines = text.split("\n")
    for first, (block, _) in sorted(edits.items(), reverse=True):
        old = lines[first - 1 : first - 1 + len(block.lines)]
        code = [line for line, bare in zip(old, block.lines, strict=True) if bare]
        prefix = code[0][: block.column] if code else ""
        same = SequenceMatcher(None, block.lines, new[first], autojunk=False)
        shown = []
        for kind, i, j, k, n in same.get_opcodes():
            shown += (
                old[i:j] if kind == "equal" else [prefix + x for x in new[first][k:n]]
            )
        lines[first - 1 : first - 1 + len(block.lines)] = shown
    return "\n".join(lines)


def in_notebook(document: Document, text: str, new: dict[int, list[str]]) -> str:
    """Return the text of a notebook with the new sources of its cells."""
    notebook = json.loads(text)
    dumps = [
        partial(json.dumps, indent=indent, ensure_ascii=ascii_only)
        for indent in (1, 2, 4, None)
        for ascii_only in (False, True)
    ]
    dump = next((d for d in dumps if d(notebook) == text.strip()), dumps[0])
    all_cells = [c for s in notebook.get("worksheets", [notebook]) for c in s["cells"]]
    for first, lines in new.items():
        number, line = document.places[first]
        cell = all_cells[(number or 1) - 1]
        key = "source" if "source" in cell else "input"
        if line == 1:  # a block in a cell of text is left
            source = "\n".join(lines)
            as_list = isinstance(cell[key], list)
            cell[key] = source.splitlines(keepends=True) if as_list else source
    return dump(notebook) + "\n" * text.endswith("\n")


def changed(block: Block, edits: dict[Place, str]) -> list[str]:
    """Return the lines of a block with its changes."""
    masked = block.masked or block.lines
    code = "\n".join(masked)
    moves = checkpoint_moves(ast.parse(code), edits)
    for place in [place for place, (kind, _) in moves.items() if kind == "from"]:
        edits[place] = ""
    adds = {place: value for place, (kind, value) in moves.items() if kind == "to"}
    try:
        result = (
            MetadataWrapper(cst.parse_module(code)).visit(Changes(edits, adds)).code
        )
        ast.parse(result)
    except (cst.ParserSyntaxError, SyntaxError, RecursionError):
        return block.lines
    if sorted(comments(result)) != sorted(comments(code)):
        return block.lines
    originals = {f"#{n}#": line for n, line in enumerate(block.lines)}
    lines = []
    for line in result.split("\n"):
        mark = re.search(r"#\d+#$", line)
        lines.append(originals[mark[0]] if mark and line in masked else line)
    return lines


def comments(code: str) -> list[str]:
    """Return what stands behind a `#` in each line; strings with one count as well."""
    return [line.partition("#")[2] for line in code.split("\n") if "#" in line]


def checkpoint_moves(
    tree: ast.Module, edits: dict[Place, str]
) -> dict[Place, tuple[str, str]]:
    """Return where `resume_from_checkpoint` goes from a Trainer to its only `fit`."""
    moves: dict[Place, tuple[str, str]] = {}
    for scope in ast.walk(tree):
        if not isinstance(scope, ast.Module | ast.FunctionDef):
            continue
        nodes = list(inside(scope))
        stored = [
            n.id
            for n in nodes
            if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
        ]
        for node in nodes:
            match node:
                case ast.Assign(
                    targets=[ast.Name(id=name)], value=ast.Call(keywords=given)
                ):
                    pass
                case _:
                    continue
            calls = [call for call in nodes if isinstance(call, ast.Call)]
            fits = [call for call in calls if ast.unparse(call.func) == f"{name}.fit"]
            for keyword in given:
                place = (keyword.lineno, keyword.col_offset)
                value = ast.unparse(keyword.value)
                known = isinstance(
                    keyword.value, ast.Constant | ast.Name | ast.Attribute
                )
                if (
                    keyword.arg != "resume_from_checkpoint"
                    or place not in edits
                    or not known
                ):
                    continue
                if (
                    stored.count(name) == 1
                    and len(fits) == 1
                    and stored.count(value) <= 1
                ):
                    moves[place] = ("from", "")
                    moves[fits[0].lineno, fits[0].col_offset] = ("to", value)
    for place in [p for p, fix in edits.items() if fix == CKPT and p not in moves]:
        del edits[place]
    return moves


def inside(scope: ast.AST) -> Iterator[ast.AST]:
    """Yield what runs in a scope, in its order, without what it defines."""
    for node in ast.iter_child_nodes(scope):
        if not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda):
            yield node
            yield from inside(node)


class Changes(cst.CSTTransformer):
    """Changes arguments and imports at given places."""

    METADATA_DEPENDENCIES = (PositionProvider,)

    def __init__(self, edits: dict[Place, str], adds: dict[Place, str]) -> None:
        super().__init__()
        self.edits = edits
        self.adds = adds

    def place(self, node: cst.CSTNode) -> Place:
        """Return the line, from 1, and the column, from 0."""
        start = self.get_metadata(PositionProvider, node).start
        return start.line, start.column

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.Call:
        """Change the arguments of a call, if none then is given twice."""
        args: list[cst.Arg] = []
        for old, arg in zip(original_node.args, updated_node.args, strict=True):
            edit = self.edits.get(self.place(old)) if old.keyword else None
            if edit is None:
                args.append(arg)
                continue
            value = cst.Module([]).code_for_node(arg.value)
            made = cst.ensure_type(
                cst.parse_expression(f"f({edit.format(value)})"), cst.Call
            ).args
            args += [one.with_changes(equal=arg.equal) for one in made[:-1]]
            args += (
                [made[-1].with_changes(equal=arg.equal, comma=arg.comma)]
                if made
                else []
            )
        if path := self.adds.get(self.place(original_node)):
            made = cst.ensure_type(
                cst.parse_expression(f"f(ckpt_path={path})"), cst.Call
            ).args
            if args and not isinstance(args[-1].comma, cst.Comma):
                after = cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))
                args[-1] = args[-1].with_changes(comma=after)
            args += made
        if args == list(updated_node.args):
            return updated_node
        unique: dict[str, cst.Arg] = {}
        for i, arg in enumerate(args):
            key = arg.keyword.value if arg.keyword else f"{i}"
            if key in unique and not unique[key].value.deep_equals(arg.value):
                return updated_node
            unique[key] = arg
        args = list(unique.values())
        if args and (last := updated_node.args[-1:]):
            code = cst.Module([]).code_for_node(args[-1])
            if "#" not in code or args[-1] is last[0]:  # not the comment behind it
                args[-1] = args[-1].with_changes(comma=last[0].comma)
        return updated_node.with_changes(args=args)

    def leave_SimpleStatementLine(
        self,
        original_node: cst.SimpleStatementLine,
        updated_node: cst.SimpleStatementLine,
    ) -> cst.SimpleStatementLine | cst.FlattenSentinel[cst.SimpleStatementLine]:
        """Import names from where they are now; one module takes a line."""
        statement = updated_node.body[0]
        if not isinstance(statement, cst.ImportFrom) or len(updated_node.body) > 1:
            return updated_node
        if not statement.module or isinstance(statement.names, cst.ImportStar):
            return updated_node
        old = original_node.body[0]
        parts = [old, *cst.ensure_type(old, cst.ImportFrom).names]  # type: ignore
        if IMPORT not in {self.edits.get(self.place(part)) for part in parts}:
            return updated_node
        module = cst.Module([]).code_for_node(statement.module)
        top = (
            "lightning.pytorch"
            if module.startswith("lightning.")
            else "pytorch_lightning"
        )
        places: dict[str, list[cst.ImportAlias]] = {}
        for alias in statement.names:
            path = canonical(f"{module}.{alias.evaluated_name}")
            home = home_of(path) if missing_part(path) else ""
            owner, _, name = home.rpartition(".")
            if name and name != alias.evaluated_name and not alias.asname:
                alias = cst.ImportAlias(cst.Name(name), cst.AsName(alias.name))  # type: ignore
            elif name:
                alias = alias.with_changes(name=cst.Name(name))
            places.setdefault(top + owner[2:] if home else module, []).append(alias)
        lines = []
        for i, (owner, aliases) in enumerate(places.items()):
            if len(places) > 1:
                aliases = [
                    a.with_changes(comma=cst.MaybeSentinel.DEFAULT) for a in aliases
                ]
            one = statement.with_changes(
                module=cst.parse_expression(owner), names=aliases
            )
            if len(places) > 1:
                one = one.with_changes(lpar=None, rpar=None)
            line = updated_node.with_changes(body=[one])
            if i:
                line = line.with_changes(
                    leading_lines=[], trailing_whitespace=cst.TrailingWhitespace()
                )
            lines.append(line)
        return cst.FlattenSentinel(lines)
