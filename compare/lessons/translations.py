"""Keep the translations of README.md in step with it.

    python -m compare.lessons.translations
    python -m compare.lessons.translations README.ja.md "Two commands"

The first command lists what the translations lack. After you have renewed a section of
a translation, the second command notes that it follows README.md again.

Below each heading, a translation has a comment with the English heading and a hash of
the English section that it was made from: <!-- Two commands: 1a2b3c4d -->
A section that is behind tells its readers so, in a line of its own.
"""

import argparse
import re
from collections.abc import Iterator
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt

from compare.lessons.spread import replace

ROOT = Path(__file__).parents[2]
# What a section that is behind says.
NOTICES = {
    "README.ja.md": "> この節は英語版の更新に追いついていません。"
    "最新の内容は英語版を参照してください。",
    "README.ko.md": "> 이 절은 영어판의 변경 사항을 아직 반영하지 못했습니다. "
    "최신 내용은 영어판을 참고하세요.",
    "README.zh.md": "> 本节尚未跟上英文版的更新。最新内容请参阅英文版。",
}
MARK = re.compile(r"<!-- (.+): [0-9a-f]{8} -->\n")
GENERATED = re.compile(r"<!-- \[\[\[cog.*?\[\[\[end\]\]\] -->", re.DOTALL)
PARSER = MarkdownIt("commonmark").enable("table")


def sections(text: str) -> dict[str, str]:
    """Return the sections of a page in their order, by their English headings."""
    lines = text.splitlines(keepends=True)
    starts = [
        token.map[0]
        for token in PARSER.parse(text)
        if token.map and token.type == "heading_open" and token.tag in ("h1", "h2")
    ]
    found = {}
    for start, end in pairwise([*starts, len(lines)]):
        section = "".join(lines[start:end])
        marked = MARK.search(section)
        found[marked[1] if marked else lines[start].strip("# \n")] = section
    return found


def mark(name: str, original: str) -> str:
    """Return the comment of a translation of an English section as it is now.

    Generated parts and line breaks do not count.
    """
    words = " ".join(GENERATED.sub("", original).split())
    return f"<!-- {name}: {sha256(words.encode()).hexdigest()[:8]} -->\n"


def kept(section: str) -> list[str]:
    """Return what every language has: code blocks, links, and code in sentences."""
    tokens = PARSER.parse(section)
    inside = [child for token in tokens for child in token.children or []]
    links = [str(one.attrGet("href") or one.attrGet("src") or "") for one in inside]
    code = {f"`{one.content}`" for one in inside if one.type == "code_inline"}
    return [
        *(token.content for token in tokens if token.type == "fence"),
        *sorted(filter(None, links)),
        *sorted(code),
    ]


def behind(english: str, translation: str) -> list[str]:
    """Return the sections that README.md has changed since they were translated."""
    originals = sections(english)
    return [
        name
        for name, section in sections(translation).items()
        if name in originals and mark(name, originals[name]) not in section
    ]


def difference(here: list[str], there: list[str]) -> str:
    """Return what only one of two lists has, or that they differ in their order."""
    odd = [one for one in [*here, *there] if (one in here) != (one in there)]
    return ", ".join(odd) or "the order"


def faults(english: str, translation: str, notice: str) -> Iterator[str]:
    """Yield what a reader of a translation would be told wrongly, a line each.

    Args:
        english: README.md.
        translation: the same in another language.
        notice: what a section of it that is behind says.
    """
    originals, translated = sections(english), sections(translation)
    old = behind(english, translation)
    if [*originals] != [*translated]:
        yield f"other sections: {difference([*originals], [*translated])}"
    for name in [name for name in originals if name in translated]:
        section = translated[name]
        if name in old and notice not in section:
            yield f"{name}: does not say that it is behind; add the line {notice}"
        if name not in old and notice in section:
            yield f"{name}: says that it is behind, and is not"
        here, there = kept(section), kept(originals[name])
        if here != there:
            yield f"{name}: other code or links: {difference(here, there)}"


def renew(english: str, translation: str, names: list[str], notice: str) -> str:
    """Return a translation with some sections marked as following README.md."""
    for name in names:
        section = sections(translation)[name]
        heading, text = MARK.sub("", section).split("\n", 1)
        comment = mark(name, sections(english)[name])
        text = text.replace(f"{notice}\n\n", "")
        translation = translation.replace(section, f"{heading}\n{comment}{text}")
    return translation


def print_lacks(english: str) -> None:
    """Print what all translations lack."""
    for file, notice in NOTICES.items():
        text = (ROOT / file).read_text("utf-8")
        for name in behind(english, text):
            renew_it = f"make translations ARGS=\"{file} '{name}'\""
            print(f"{file}: {name}: behind; once it follows: {renew_it}")
        for fault in faults(english, text, notice):
            print(f"{file}: {fault}")


def main() -> None:
    """List what the translations lack, or renew the marks of some sections."""
    parser = argparse.ArgumentParser(
        prog="python -m compare.lessons.translations",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "translation", nargs="?", choices=NOTICES, metavar="FILE", help="a translation"
    )
    parser.add_argument(
        "sections", nargs="*", metavar="SECTION", help="an English heading of it"
    )
    arguments = parser.parse_args()
    english = (ROOT / "README.md").read_text("utf-8")
    if arguments.translation is None:
        print_lacks(english)
        return
    path = ROOT / arguments.translation
    text = path.read_text("utf-8")
    known = [name for name in sections(english) if name in sections(text)]
    if not arguments.sections:
        parser.error(f"name one of {known}")
    for name in arguments.sections:
        if name not in known:
            parser.error(f"{path.name} has no section {name!r}: name one of {known}")
    notice = NOTICES[path.name]
    replace(path, renew(english, text, arguments.sections, notice).encode())


if __name__ == "__main__":
    main()
