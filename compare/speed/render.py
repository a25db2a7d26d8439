"""The README's part by `compare.speed`.

    python -m compare.speed.render

draws the plots and renews the README from the committed results, compare/results/.
"""

import json
from pathlib import Path
from textwrap import fill

from compare.readme import README, write_part
from compare.speed.plot import draw
from compare.speed.tables import RENDER, Results, what_is_timed
from shared.command import one_line_errors

RESULTS = Path(__file__).parents[1] / "results"


def render_machine(results: Results) -> str:
    """Return on what, when and how all was measured."""
    machine, options = results["machine"], results["options"]
    versions = ", ".join(f"{name} {v}" for name, v in machine["versions"].items())
    where = machine["cpu"] if machine["device"] == "cpu" else machine["device"]
    time = (
        "Times of a step are processor time, which other programs disturb less"
        if what_is_timed(results) == "processor"
        else "Times of a step are by the clock"
    )
    text = (
        f"Measured on {machine['date']}: {where}, {machine['cores']} cores,"
        f" {options['threads']} thread(s), load {machine['load']} beforehand;"
        f" {versions}; {results['dataset']}. The ways took turns, n times each; shown"
        f" are medians, and quartiles in brackets. {time}; each ratio is the median of"
        " those of the rounds."
    )
    return fill(text, 88)


def render(results: Results, picture: str | None = None) -> str:
    """Return all that was measured, in Markdown."""
    parts = [render_machine(results)]
    for name, render_part in RENDER.items():
        if name in results:
            parts.append(render_part(results))
        if name == "sizes" and name in results and picture:
            parts.append(f"![The overhead by the time of a step]({picture})")
    return "\n\n".join(parts)


def readme_part() -> str:
    """Return what the README says by the committed results."""
    return "\n\n".join(
        render(json.loads(path.read_text()), f"compare/results/{path.stem}.png")
        for path in sorted(RESULTS.glob("speed-*.json"))
    )


def main() -> None:
    """Draw the plots and renew the README."""
    for path in sorted(RESULTS.glob("speed-*.json")):
        draw(json.loads(path.read_text()), path.with_suffix(".png"))
    write_part("speed", readme_part(), README)


if __name__ == "__main__":
    with one_line_errors():
        main()
