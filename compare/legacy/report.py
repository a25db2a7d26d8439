"""Print findings: for people, for programs, and for code review."""

import json
from dataclasses import asdict
from itertools import groupby

from compare.legacy.rules import EFFECTS, RULES, Finding

HEADINGS = {
    "unsafe": "Unsafe",
    "ignored": "Ignored silently",
    "warns": "Warns",
    "raises": "Raises an error",
    "note": "Notes",
}
LEVELS = {"unsafe": "error", "ignored": "error", "warns": "warning", "raises": "error"}
SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def place(finding: Finding) -> str:
    """Return where a finding is, as editors read it."""
    cell = f"cell {finding.cell}:" if finding.cell else ""
    return f"{finding.file}:{cell}{finding.line}:{finding.column}"


def message(finding: Finding) -> str:
    """Return what was found and what to write, in one line."""
    since = f", since {finding.since}" if finding.since else ""
    return f"{finding.found}{since}; now: {finding.now}"


def text(findings: list[Finding]) -> str:
    """Return findings for people: by file, then by effect."""
    lines = []
    for file, inside in groupby(findings, key=lambda f: f.file):
        lines.append(file)
        ordered = sorted(inside, key=lambda f: EFFECTS.index(f.effect))
        for effect, group in groupby(ordered, key=lambda f: f.effect):
            lines.append(f"  {HEADINGS[effect]}:")
            for f in group:
                since = f", since {f.since}" if f.since else ""
                lines.append(f"    {place(f)}: {f.code} {f.found}{since}")
                lines.append(f"        now: {f.now}")
                lines += [
                    "          | " + x for x in f.skeleton.split("\n") if f.skeleton
                ]
        lines.append("")
    count = sum(finding.effect != "note" for finding in findings)
    return "\n".join([*lines, f"{count} found" if count else "nothing found"])


def as_json(findings: list[Finding]) -> str:
    """Return a list of objects."""
    return json.dumps([asdict(finding) for finding in findings], indent=2)


def github(findings: list[Finding]) -> str:
    """Return annotations of GitHub Actions."""
    lines = []
    for f in findings:
        level = LEVELS.get(f.effect, "notice")
        said = f"{place(f)}: {message(f)}".replace("%", "%25").replace("\n", "%0A")
        file = f.file.replace("%", "%25").replace(",", "%2C").replace(":", "%3A")
        # A line of a cell is no line of the file.
        where = "" if f.cell else f",line={f.line},col={f.column}"
        lines.append(f"::{level} file={file}{where},title={f.code}::{said}")
    return "\n".join(lines)


def sarif(findings: list[Finding]) -> str:
    """Return a log in SARIF 2.1.0."""
    rules = {rule.code: rule for kind in RULES.values() for rule in kind.values()}
    results = [
        {
            "ruleId": f.code,
            "level": LEVELS.get(f.effect, "note"),
            "message": {"text": message(f)},
            "locations": [
                {
                    "physicalLocation": {
                        "artifactLocation": {"uri": f.file},
                        "region": {"startLine": f.line, "startColumn": f.column},
                    }
                }
            ],
        }
        for f in findings
    ]
    described = [
        {"id": code, "shortDescription": {"text": rules[code].found}}
        for code in sorted({f.code for f in findings})
    ]
    driver = {"name": "compare.legacy", "rules": described}
    runs = [{"tool": {"driver": driver}, "results": results}]
    return json.dumps({"version": "2.1.0", "$schema": SCHEMA, "runs": runs}, indent=2)


FORMATS = {"text": text, "json": as_json, "github": github, "sarif": sarif}
