"""Cut the files of a lesson at their anchors, and pair the blocks that do the same.

A block begins at a banner, a class, a function or an anchor.
"""

import re
from difflib import SequenceMatcher
from typing import NamedTuple

ANCHOR = re.compile(r" +# ([A-Z][\w-]*( [\w-]+)?)[.:]")
BANNER = re.compile(r"# (\d)\. ")
DEFINITION = re.compile(r"( {4})?(class|(?:async )?def) (\w+)")
TOP = "imports"


class Block(NamedTuple):
    """Some lines of a file.

    Attributes:
        name: of its anchor, "Sanity check"; "1", "2" and "3" for the banners;
            "class Model", "Model.training_step" and "fit" for what is defined; TOP
            above the first of these.
        start: the index of its first line, from 0.
        lines: all of them, without line ends.
    """

    name: str
    start: int
    lines: list[str]


Pair = tuple[Block | None, Block | None]


def blocks(source: str) -> list[Block]:
    """Cut a file into blocks, whose lines together are all of the file."""
    found = [Block(TOP, 0, [])]
    lines, class_name = source.splitlines(), ""
    for index, line in enumerate(lines):
        name = ""
        if match := ANCHOR.match(line) or BANNER.match(line):
            name = match[1]
        elif match := DEFINITION.match(line):
            name = match[3]
            if match[2] == "class":
                class_name, name = name, f"class {name}"
            elif match[1] and class_name:
                name = f"{class_name}.{name}"
            else:
                class_name = ""
                name = "" if match[1] else name  # a function inside another
        if name:
            found.append(Block(name, index, []))
            above = found[-2].lines
            # Comments and decorators right above a definition belong to it.
            while DEFINITION.match(line) and above and belongs_below(above[-1]):
                found[-1].lines.insert(0, above.pop())
            found[-1] = found[-1]._replace(start=index - len(found[-1].lines))
        found[-1].lines.append(line)
    return [block for block in found if block.lines]


def belongs_below(line: str) -> bool:
    """Return whether a line right above a definition belongs to the definition."""
    starts = line.lstrip().startswith(("@", "#"))
    return starts and not ANCHOR.match(line) and not BANNER.match(line)


def aligned(left: str, right: str) -> list[Pair]:
    """Return the blocks of two files in pairs, those of equal names side by side.

    As many other blocks between two such pairs in both files are pairs, too; otherwise
    each stands beside None.
    """
    both = blocks(left), blocks(right)
    pairs: list[Pair] = []
    left_names, right_names = ([block.name for block in one] for one in both)
    matcher = SequenceMatcher(None, left_names, right_names, autojunk=False)
    for _, *span in matcher.get_opcodes():
        lefts, rights = both[0][slice(*span[:2])], both[1][slice(*span[2:])]
        if len(lefts) == len(rights):
            pairs += zip(lefts, rights, strict=True)
        else:
            pairs += [(block, None) for block in lefts]
            pairs += [(None, block) for block in rights]
    return pairs
