"""The Markdown of the lessons in HTML."""

import os
import posixpath
import re
from collections.abc import Collection
from html import escape
from itertools import chain, count
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

ISSUES = {
    "Lightning: #": "https://github.com/Lightning-AI/pytorch-lightning/issues/",
    "pytorch#": "https://github.com/pytorch/pytorch/issues/",
}
ISSUE = re.compile(r"(Lightning: #|(?<!\w)pytorch#)(\d+)")
# Comments with which cogapp finds the generated parts.
COMMENT = re.compile(r"<!-- .*?-->\n?", re.DOTALL)


def repository() -> str:
    """Return the address of this repository's files, known in GitHub's own runs."""
    server = os.environ.get("GITHUB_SERVER_URL", "https://github.com")
    name = os.environ.get("GITHUB_REPOSITORY")
    return f"{server}/{name}/blob/main/" if name else ""


def markdown(text: str, folder: str, lessons: list[str]) -> str:
    """Return Markdown as HTML.

    Args:
        text: a page of this repository, or a part of one.
        folder: its folder in the repository, for its links to other files.
        lessons: their names, for links to their pages.
    """
    parser = MarkdownIt("commonmark").enable("table")
    text = COMMENT.sub("", text)
    tokens = parser.parse(text)
    for token in tokens:
        if token.children:
            found = [links(child, folder, lessons) for child in token.children]
            token.children = list(chain.from_iterable(found))
        if token.type == "heading_open":
            title = tokens[tokens.index(token) + 1].content
            token.attrSet("id", slug(title))
    html: str = parser.renderer.render(drop_dead_links(tokens), parser.options, {})
    # A wide table scrolls by itself.
    html = html.replace("<table>", '<div class="wide" tabindex="0"><table>')
    return html.replace("</table>", "</table></div>")


def slug(title: str) -> str:
    """Return a heading as the fragment of an address."""
    return re.sub(r"\W+", "-", title.lower()).strip("-")


def unique(name: str, taken: Collection[str]) -> str:
    """Return a name for a fragment that is not taken: name, name-2, name-3, ..."""
    numbered = (f"{name}-{number}" for number in count(2))
    return next(one for one in chain([name], numbered) if one not in taken)


def links(token: Token, folder: str, lessons: list[str]) -> list[Token]:
    """Return a token with the address of its page, and links for numbers of issues."""
    if token.type == "link_open":
        token.attrSet("href", address(str(token.attrGet("href")), folder, lessons))
        return [token]
    if token.type == "image":
        file = posixpath.basename(str(token.attrGet("src")))
        token.attrSet("src", f"pictures/{file}")
    if token.type != "text":
        return [token]
    found, end = [], 0
    for match in ISSUE.finditer(token.content):
        found.append(plain(token.content[end : match.start()]))
        href = ISSUES[match[1]] + match[2]
        found.append(Token("link_open", "a", 1, attrs={"href": href}))
        found += [plain(match[0]), Token("link_close", "a", -1)]
        end = match.end()
    return [*found, plain(token.content[end:])]


def plain(text: str) -> Token:
    """Return a token of text."""
    return Token("text", "", 0, content=text)


def address(href: str, folder: str, lessons: list[str]) -> str:
    """Return where a link of a Markdown file leads on the site, "" if nowhere."""
    if "://" in href or href.startswith("#"):
        return href
    path, _, fragment = href.partition("#")
    path = posixpath.normpath(posixpath.join(folder, path))
    name = posixpath.splitext(posixpath.basename(path))[0]
    pages = {
        "compare/clinic/README.md": "why.html",
        "compare/clinic": "why.html",
        "compare/legacy/README.md": "legacy.html",
        "compare/legacy": "legacy.html",
        "compare/lessons/speed.md": "speed.html",
        "README.md": "index.html",
    }
    if path in pages:
        return pages[path] + (f"#{fragment}" if fragment else "")
    if path == f"compare/lessons/{name}.md" and name in lessons:
        return f"{name}.html" + (f"#{fragment}" if fragment else "")
    return repository() + path if repository() else ""


def drop_dead_links(tokens: list[Token]) -> list[Token]:
    """Keep the text of links that lead nowhere."""
    for token in tokens:
        depth: list[Any] = []
        kept = []
        for child in token.children or []:
            if child.type == "link_open":
                depth.append(child.attrGet("href"))
                if not depth[-1]:
                    continue
            if child.type == "link_close" and not depth.pop():
                continue
            kept.append(child)
        token.children = kept or token.children
    return tokens


def inline(text: str) -> Markup:
    """Return a sentence as HTML, with code where it has backticks."""
    return Markup(re.sub(r"`(.*?)`", r"<code>\1</code>", escape(text, quote=False)))


def source(thread: str) -> Markup:
    """Return where a case comes from as HTML, with a link for every address."""
    link = r'<a href="\g<0>">\1</a>'
    return Markup(re.sub(r"https://([^\s,;]+)", link, escape(thread)))


def first_paragraph(text: str) -> str:
    """Return the first paragraph below the title, as plain text on one line."""
    paragraph = COMMENT.sub("", text).strip().split("\n\n")[1]
    return re.sub(r"[`*]|\[(.*?)\]\(.*?\)", r"\1", " ".join(paragraph.split()))
