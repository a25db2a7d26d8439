"""The table of what Lightning had and has no more, and the list of what it has."""

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path

# The more harm it does unseen, the sooner it is listed.
EFFECTS = ("unsafe", "ignored", "warns", "raises", "note")
# How a rule of each kind is shown, where it does not say so itself.
FOUND = {
    "argument": "{0}({1}=...)",
    "missing": "{0} without {1}",
    "value": "{0}({1})",
    "attribute": "{0}.{1}",
    "assignment": "{0}.{1} = ...",
    "hook": "def {1} in a {0}",
    "parameter": "{1} as a parameter of {0}",
    "name": "{0}.{1}",
}
FOLDER = Path(__file__).parent
API = FOLDER / "api.json"


class UnusableFileError(Exception):
    """A file cannot be searched; the message says which and why."""


@dataclass(frozen=True)
class Rule:
    """One line of the table.

    Attributes:
        code: its number, PLL and three digits.
        kind: the first word of its section.
        old: what is looked for; how it is written depends on the kind.
        since: the version of Lightning that has it no more; empty for mistakes that
            were mistakes in every version.
        now: what to write instead.
        effect: what Lightning 2.6 does: one of EFFECTS.
        found: how it is shown.
    """

    code: str
    kind: str
    old: str
    since: str
    now: str
    effect: str
    found: str


@dataclass(frozen=True)
class Finding:
    """One place of a file; these are the fields of the JSON output.

    Attributes:
        line, column: from 1; in a notebook, inside the cell.
        cell: the number of the notebook's cell, from 1; None in other files.
        skeleton: code to start from, or "".
    """

    file: str
    cell: int | None
    line: int
    column: int
    code: str
    effect: str
    found: str
    now: str
    since: str
    skeleton: str = ""


def shown(kind: str, old: str) -> str:
    """Return how a rule of a kind other than slip is shown."""
    name, _, value = old.partition("=")
    owner, _, last = name.rpartition(".")
    if owner.startswith("pl"):
        owner = "pytorch_lightning" + owner[2:]
    return FOUND[kind].format(owner, f"{last}={value}" if value else last)


TABLE = tomllib.loads((FOLDER / "rules.toml").read_text("utf-8"))
CHANGED: dict[str, str] = TABLE.pop("changed")
FIXES: dict[str, list[str]] = TABLE.pop("fixes")
MOVED: dict[str, str] = TABLE.pop("moved")
MISTAKEN: dict[str, str] = TABLE.pop("mistaken")
RULES = {
    kind: {
        old: Rule(code, kind, old, since, now, effect, *found or [shown(kind, old)])
        for effect, lines in effects.items()
        for old, (code, since, now, *found) in lines.items()
    }
    for kind, effects in TABLE.items()
}
LISTS = json.loads(API.read_text("utf-8"))
MODULES = {name: set(names.split()) for name, names in LISTS["modules"].items()}
MEMBERS = {name: set(names.split()) for name, names in LISTS["members"].items()}
READ_ONLY = {name: set(names.split()) for name, names in LISTS["read_only"].items()}
HOOKS: dict[str, dict[str, str]] = LISTS["hooks"]
SIGNATURES: dict[str, str] = LISTS["signatures"]


def ignored_table() -> str:
    """Return the table of what is ignored silently, newest first."""
    rows: dict[tuple[tuple[int, ...], str], list[str]] = {}
    for rule in (rule for rules in RULES.values() for rule in rules.values()):
        if rule.effect == "ignored" and rule.since:
            version = tuple(map(int, rule.since.split(".")))
            owner, _, name = rule.old.rpartition(".")
            shown = f"`{name}`" if owner else rule.found.format("log", "", "a step")
            rows.setdefault((version, owner), []).append(shown)
    lines = ["| since | in | silently ignored |", "|---|---|---|"]
    for (version, owner), names in sorted(rows.items(), reverse=True):
        lines.append(
            f"| {'.'.join(map(str, version))} | {owner} | {', '.join(names)} |"
        )
    return "\n".join(lines)


def home_of(path: str) -> str:
    """Return where the class or function that was at a path is now, or ""."""
    name = path.rpartition(".")[2]
    if path in MOVED:
        return MOVED[path]
    home = LISTS["homes"].get(name)
    return f"{home}.{name}" if home else ""


def missing_part(path: str) -> str:
    """Return a path up to the first name that Lightning 2.6 has not, or ""."""
    parts = path.split(".")
    for end in range(1, len(parts)):
        inner = MODULES.get(".".join(parts[:end]))
        if inner is None:
            return ""  # inside a class
        if parts[end] not in inner and not parts[end].startswith("__"):
            return ".".join(parts[: end + 1])
    return ""
