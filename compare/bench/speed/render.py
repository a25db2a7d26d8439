"""The README's part by `compare.bench.speed`.

    python -m compare.bench.speed.render

draws the plots and renews the README from the committed results, compare/results/.
"""

from textwrap import fill

from compare.bench.measured import Results, committed, conditions
from compare.bench.readme import write_part
from compare.bench.speed.plot import draw
from compare.bench.speed.tables import RENDER, what_is_timed
from shared.runtime.command import one_line_errors


def render_machine(results: Results) -> str:
    """Return on what, when and how all was measured."""
    time = (
        "Times of a step are processor time, which other programs disturb less"
        if what_is_timed(results) == "processor"
        else "Times of a step are by the clock"
    )
    text = (
        f"{conditions(results)} The ways took turns, n times each; shown are medians,"
        f" and quartiles in brackets. {time}; each ratio is the median of those of the"
        " rounds."
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
        render(results, f"compare/results/{path.stem}.png")
        for path, results in committed("speed").items()
    )


def main() -> None:
    """Draw the plots and renew the README."""
    for path, results in committed("speed").items():
        draw(results, path.with_suffix(".png"))
    write_part("speed", readme_part())


if __name__ == "__main__":
    with one_line_errors():
        main()
