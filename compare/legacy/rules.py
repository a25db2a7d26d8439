"""The table of what Lightning had and has no more, read from rules.toml."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

# The quieter, the sooner it is listed.
EFFECTS = ("ignored", "warns", "raises")
# How a rule of each kind is shown, where it does not say so itself.
FOUND = {
    "argument": "{0}({1}=...)",
    "missing": "{0} without {1}",
    "value": "{0}({1})",
    "attribute": "{0}.{1}",
    "assignment": "{0}.{1} = ...",
    "hook": "def {1} in a {0}",
    "parameter": "{1} as a parameter of {0}",
    "parameter_named": "{1} as a parameter of {0}",
    "short": "{0} with fewer than {1} parameters beside self",
    "name": "{0}.{1}",
}


class UnusableFileError(Exception):
    """A file cannot be searched; the message says which and why."""


@dataclass(frozen=True)
class Rule:
    """One line of the table.

    Attributes:
        kind: the first word of its section.
        old: what is looked for; how it is written depends on the kind.
        since: the version of Lightning that has it no more; empty for mistakes that
            were mistakes in every version.
        now: what to write instead.
        effect: what Lightning 2.6 does: one of EFFECTS.
        found: how it is shown.
    """

    kind: str
    old: str
    since: str
    now: str
    effect: str
    found: str


@dataclass(frozen=True)
class Finding:
    """One place of a file; these are the fields of --json."""

    file: str
    line: int
    found: str
    now: str
    since: str
    effect: str


with Path(__file__).with_name("rules.toml").open("rb") as file:
    TABLE = tomllib.load(file)
HOOKS: dict[str, list[str]] = TABLE.pop("hooks")
MISTAKEN: dict[str, str] = TABLE.pop("mistaken")


def read_rules() -> dict[str, dict[str, Rule]]:
    """Return the rules of each kind by what they look for."""
    return {
        kind: {
            old: Rule(kind, old, since, now, effect, *found or [shown(kind, old)])
            for effect, lines in effects.items()
            for old, (since, now, *found) in lines.items()
        }
        for kind, effects in TABLE.items()
    }


def shown(kind: str, old: str) -> str:
    """Return how a rule of a kind other than slip is shown."""
    name, _, value = old.partition("=")
    owner, _, last = name.rpartition(".")
    if owner.startswith("pl"):
        owner = "pytorch_lightning" + owner[2:]
    return FOUND[kind].format(owner, f"{last}={value}" if value else last)


RULES = read_rules()


def ignored_table() -> str:
    """Return the table of what is ignored silently, newest first."""
    rows: dict[str, list[str]] = {}
    for rule in (rule for rules in RULES.values() for rule in rules.values()):
        if rule.effect == "ignored" and rule.since:
            found = rule.found.format("log", "", "a step")
            if rule.kind == "hook":
                owner, name = rule.old.split(".")
                if "Data" in owner and f"LightningModule.{name}" in RULES["hook"]:
                    continue  # it has the name already
                found = f"`{name}`" + " of a data module" * ("Data" in owner)
            rows.setdefault(rule.since, []).append(found)
    versions = sorted(rows, key=lambda v: [int(n) for n in v.split(".")], reverse=True)
    lines = ["| since | silently ignored |", "|---|---|"]
    for version in versions:
        lines.append(f"| {version} | {', '.join(dict.fromkeys(rows[version]))} |")
    return "\n".join(lines)
