"""Make the changes that keep the meaning, with LibCST: comments and layout stay."""

import ast
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import libcst as cst
from libcst.metadata import MetadataWrapper, PositionProvider

from compare.legacy.blocks import Block, Document
from compare.legacy.finder import IMPORT, Hit
from compare.legacy.names import canonical
from compare.legacy.rules import home_of, missing_part

CKPT = "Trainer.resume_from_checkpoint"
Place = tuple[int, int]  # the line in a block, from 1, and the column, from 0


def fixed(
    document: Document, text: str, hits: Iterable[tuple[Hit, Block | None]]
) -> str:
    """Return the text of a document with all changes made that keep its meaning."""
    edits: dict[int, tuple[Block, dict[Place, str]]] = {}
    for hit, block in hits:
        change = CKPT if hit.fix is None and hit.rule.old == CKPT else hit.fix
        if block and change is not None:
            row = block.numbers.index(hit.line) + 1
            place = (row, hit.column - 1 - block.column)
            edits.setdefault(block.numbers[0], (block, {}))[1][place] = change
    new = {first: changed(block, places) for first, (block, places) in edits.items()}
    if document.places:
        return in_notebook(document, text, new)
    lines = text.split("\n")
    for first, (block, _) in sorted(edits.items(), reverse=True):
        end = first - 1 + len(block.lines)
        old = lines[first - 1 : end]
        code = next(line for line, bare in zip(old, block.lines, strict=True) if bare)
        before = code[: block.column]
        lines[first - 1 : end] = [
            before + line if line else before.rstrip() for line in new[first]
        ]
    return "\n".join(lines)


def in_notebook(document: Document, text: str, new: dict[int, list[str]]) -> str:
    """Return the text of a notebook with the new sources of its cells."""
    notebook = json.loads(text)
    for first, lines in new.items():
        number, line = document.places[first]
        cell = notebook["cells"][number - 1]
        if line == 1:  # a block in a cell of text is left
            source = "\n".join(lines)
            as_list = isinstance(cell["source"], list)
            cell["source"] = source.splitlines(keepends=True) if as_list else source
    indent = re.match(r"\{\n( +)", text)
    width = len(indent[1]) if indent else None
    new_text = json.dumps(notebook, indent=width, ensure_ascii=text.isascii())
    return new_text + "\n" * text.endswith("\n")


def changed(block: Block, edits: dict[Place, str]) -> list[str]:
    """Return the lines of a block with its changes."""
    masked = block.masked or block.lines
    code = "\n".join(masked)
    changes = Changes(edits, dict(moves(ast.parse(code), edits)))
    try:
        new = MetadataWrapper(cst.parse_module(code)).visit(changes).code
    except (cst.ParserSyntaxError, RecursionError):
        return block.lines
    originals = {f"#{n}#": line for n, line in enumerate(block.lines)}
    lines = []
    for line in new.split("\n"):
        mark = re.search(r"#\d+#$", line)
        lines.append(originals[mark[0]] if mark and line in masked else line)
    return lines


def moves(
    tree: ast.Module, edits: dict[Place, str]
) -> Iterator[tuple[Place, tuple[Place, str]]]:
    """Yield the place of each `fit` that can take a Trainer's `resume_from_checkpoint`.

    With it come the argument's place and value. The Trainer has one name and one `fit`,
    and the value is the same there.
    """
    for scope in ast.walk(tree):
        if not isinstance(scope, ast.Module | ast.FunctionDef):
            continue
        nodes = list(inside(scope))
        stored = Counter(
            node.id
            for node in nodes
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        )
        for node in nodes:
            match node:
                case ast.Assign(
                    targets=[ast.Name(id=name)], value=ast.Call(keywords=given)
                ) if stored[name] == 1:
                    calls = [call for call in nodes if isinstance(call, ast.Call)]
                    fits = [c for c in calls if ast.unparse(c.func) == f"{name}.fit"]
                case _:
                    continue
            for keyword in given:
                place = (keyword.lineno, keyword.col_offset)
                value = ast.unparse(keyword.value)
                simple = isinstance(
                    keyword.value, ast.Constant | ast.Name | ast.Attribute
                )
                same = simple and stored[value] <= 1
                if edits.get(place) == CKPT and same and len(fits) == 1:
                    yield (fits[0].lineno, fits[0].col_offset), (place, value)


def inside(scope: ast.AST) -> Iterator[ast.AST]:
    """Yield what runs in a scope, in its order, without what it defines."""
    for node in ast.iter_child_nodes(scope):
        if not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda):
            yield node
            yield from inside(node)


def code_of(*nodes: cst.CSTNode) -> str:
    """Return the code of nodes."""
    return "".join(cst.Module([]).code_for_node(node) for node in nodes)


def same_comments(old: Sequence[cst.CSTNode], new: Sequence[cst.CSTNode]) -> bool:
    """Return whether nodes have the same comments; a `#` in a string counts as well."""
    before, after = (re.findall("#.*", code_of(*nodes)) for nodes in (old, new))
    return sorted(before) == sorted(after)


def arguments(code: str) -> list[cst.Arg]:
    """Parse the arguments of a call."""
    call = cst.ensure_type(cst.parse_expression(f"f({code})"), cst.Call)
    return list(call.args)


class Changes(cst.CSTTransformer):
    """Changes arguments and imports, where that loses no comment.

    Attributes:
        edits: the new arguments for each place of an old one, or IMPORT.
        moves: for the place of each `fit` that is given `ckpt_path`, that of the old
            argument, and the value.
        done: the places of the arguments that were changed.
    """

    METADATA_DEPENDENCIES = (PositionProvider,)

    def __init__(
        self, edits: dict[Place, str], moves: dict[Place, tuple[Place, str]]
    ) -> None:
        super().__init__()
        self.moves = moves
        moved = {place for place, _ in moves.values()}
        self.edits = {
            place: "" if place in moved else edit
            for place, edit in edits.items()
            if place in moved or edit != CKPT
        }
        self.done: set[Place] = set()

    def place(self, node: cst.CSTNode) -> Place:
        """Return where a node begins."""
        start = self.get_metadata(PositionProvider, node).start
        return start.line, start.column

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.Call:
        """Change the arguments of a call; give a `fit` its `ckpt_path`."""
        places = {self.place(arg) for arg in original_node.args if arg.keyword}
        places &= self.edits.keys()
        if places:
            args = self.edited(original_node, updated_node)
            if args is not None and same_comments(updated_node.args, args):
                self.done |= places
                updated_node = updated_node.with_changes(args=args)
        source, value = self.moves.get(self.place(original_node), (None, ""))
        if source in self.done:
            more = arguments(f"ckpt_path={value}")
            updated_node = updated_node.with_changes(args=[*updated_node.args, *more])
        return updated_node

    def edited(self, original: cst.Call, updated: cst.Call) -> list[cst.Arg] | None:
        """Return the new arguments of a call, or None if one is given twice."""
        new: dict[str, cst.Arg] = {}
        for i, arg in enumerate(updated.args):
            edit = self.edits.get(self.place(original.args[i]))
            made = [arg]
            if arg.keyword and edit is not None:
                made = arguments(edit.format(code_of(arg.value)))
                made = [one.with_changes(equal=arg.equal) for one in made]
                made[-1:] = [one.with_changes(comma=arg.comma) for one in made[-1:]]
            for one in made:
                key = one.keyword.value if one.keyword else f"{i}"
                if not new.setdefault(key, one).value.deep_equals(one.value):
                    return None
        args = list(new.values())
        if args and "#" not in code_of(args[-1]):  # it may not have been the last
            args[-1] = args[-1].with_changes(comma=updated.args[-1].comma)
        return args

    def leave_SimpleStatementLine(
        self,
        original_node: cst.SimpleStatementLine,
        updated_node: cst.SimpleStatementLine,
    ) -> cst.SimpleStatementLine | cst.FlattenSentinel[cst.SimpleStatementLine]:
        """Import names from where they are now; one module takes a line."""
        match original_node.body:
            case [cst.ImportFrom(module=cst.CSTNode() as owner, names=[*names]) as old]:
                pass
            case _:
                return updated_node
        if IMPORT not in {self.edits.get(self.place(part)) for part in (old, *names)}:
            return updated_node
        module = code_of(owner)
        modules: dict[str, list[cst.ImportAlias]] = {}
        for alias in names:
            home, name = new_home(module, alias.evaluated_name)
            if name != alias.evaluated_name:
                asname = alias.asname or cst.AsName(alias.name)  # type: ignore[arg-type]
                alias = alias.with_changes(name=cst.Name(name), asname=asname)
            modules.setdefault(home, []).append(alias)
        if len(modules) == 1:  # its layout stays
            new = old.with_changes(
                module=cst.parse_expression(home), names=modules[home]
            )
            return updated_node.with_changes(body=[new])
        lines = []
        for home, aliases in modules.items():
            bare = [
                one.with_changes(comma=cst.MaybeSentinel.DEFAULT) for one in aliases
            ]
            new = cst.ImportFrom(cst.parse_expression(home), bare)  # type: ignore[arg-type]
            lines.append(cst.SimpleStatementLine([new]))
        lines[0] = updated_node.with_changes(body=lines[0].body)
        if same_comments([updated_node], lines):
            return cst.FlattenSentinel(lines)
        return updated_node


def new_home(module: str, name: str) -> tuple[str, str]:
    """Return where a name of a module is now, and its name there."""
    path = canonical(f"{module}.{name}")
    home = home_of(path) if missing_part(path) else ""
    if not home:
        return module, name
    is_new = module.startswith("lightning.")
    package = "lightning.pytorch" if is_new else "pytorch_lightning"
    owner, _, new = home.rpartition(".")
    return package + owner[2:], new
