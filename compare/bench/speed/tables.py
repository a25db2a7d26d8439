"""The tables of `compare.bench.speed`, in Markdown, for the screen and the README."""

from textwrap import fill

from compare.bench.measured import Results
from compare.bench.speed.turns import ratio, spread
from compare.bench.spread import Spread, show, table

RUNGS = {
    "arithmetic": "forward, backward and update, batches in memory",
    "loader": "the same with the loader",
    "plain": "the plain half: and curves, progress bar, checkpoint",
    "barebones": "Lightning: `Trainer(barebones=True)`",
    "stripped": "Lightning: no logger, bar, checkpoint; `self.log` stays",
    "lightning": "the Lightning half as it is",
}


LARGE = 19_900_000
"""From so many parameters on a step should not notice the Trainer."""
SELF_LOG = """\
`self.log` moves its metric to the device in each call, also where it is there already,
and copies the metric's settings for that. Importing Lightning sets
`PYTORCH_NVML_BASED_CUDA_CHECK=1`; where there is no GPU, Adam then searches for a
driver in every step."""


def what_is_timed(results: Results) -> str:
    """Return which of the two times of a step counts."""
    return "processor" if results["machine"]["device"] == "cpu" else "clock"


def aim(what: str, taken: Spread, most: float) -> str:
    """Return whether a ratio is as low as it should be, where its spread can tell."""
    verdict = "too near to tell"
    if taken.upper <= most:
        verdict = "reached"
    if taken.lower > most:
        verdict = "missed"
    return f"{what}, at most {most}: {show(taken, '.2f')}, {verdict}."


def render_ladder(results: Results) -> str:
    """Return the table of the ladder, and what it aims at."""
    samples, time = results["ladder"], what_is_timed(results)
    rows = []
    for name, label in RUNGS.items():
        step = spread(samples[name], time)
        ratios = [
            f"{ratio(samples, name, b, time).median:.2f}"
            for b in ("arithmetic", "plain")
        ]
        epochs = "rest" in samples[name][0]
        between = f"{spread(samples[name], 'rest').median:.0f}" if epochs else ""
        rows.append([label, show(step, ".0f"), step.n, *ratios, between])
    headers = ["one step", "µs", "n", "of arithmetic", "of plain", "between epochs, ms"]
    plain = ratio(samples, "plain", "arithmetic", time)
    lightning = ratio(samples, "lightning", "plain", time)
    aims = aim("Aim for the plain half, times the arithmetic", plain, 1.15)
    aims += " " + aim("Aim for Lightning, times the plain half", lightning, 1.5)
    bare = show(ratio(samples, "barebones", "plain", time), ".2f")
    aims += f" The Trainer's loops with nothing else in them, barebones: {bare} times."
    return f"{table(rows, headers)}\n\n{fill(aims, 88)}"


def render_sizes(results: Results) -> str:
    """Return the table of the model's sizes and the batch sizes."""
    time = what_is_timed(results)
    rows = []
    for point in results["sizes"]:
        samples = point["samples"]
        base = spread(samples["arithmetic"], time).median
        plain, lightning = (
            spread(samples[name], time).median for name in ("plain", "lightning")
        )
        rows.append(
            [
                f"{point['parameters']:,}",
                point["batch_size"],
                f"{base / 1e3:.2f}",
                f"{ratio(samples, 'plain', 'arithmetic', time).median:.2f}",
                show(ratio(samples, "lightning", "plain", time), ".2f"),
                f"{(lightning - plain) / 1e3:+.1f}",
                len(samples["plain"]),
            ]
        )
    headers = ["parameters", "images", "arithmetic, ms", "plain / arithmetic"]
    headers += ["Lightning / plain", "difference, ms", "n"]
    aims = [
        aim(
            f"Aim for Lightning with {point['parameters']:,} parameters",
            ratio(point["samples"], "lightning", "plain", time),
            1.03,
        )
        for point in results["sizes"]
        if point["parameters"] >= LARGE
    ]
    return f"{table(rows, headers)}\n\n{fill(' '.join(aims), 88)}"


def render_startup(results: Results) -> str:
    """Return the table of fresh processes."""
    samples = results["startup"]
    labels = {
        "import": ("imports, s by the clock", ".1f"),
        "first_step": ("start to first step, s by the clock", ".1f"),
        "memory_imported": ("memory after the imports, MiB", ".0f"),
        "memory": ("most memory, MiB", ".0f"),
    }
    rows = []
    for what, (label, form) in labels.items():
        spreads = [spread(samples[name], what) for name in ("plain", "lightning")]
        shown = [
            f"{s.median:{form}} ({s.lower:{form}} to {s.upper:{form}})" for s in spreads
        ]
        rows.append([label, *shown, spreads[0].n])
    return table(rows, ["a fresh process", "plain half", "Lightning half", "n"])


def render_input(results: Results) -> str:
    """Return the table of the input."""
    samples = results["input"]
    rows = []
    for name, taken in samples.items():
        step = spread(taken, "clock")
        times = f"{ratio(samples, name, next(iter(samples)), 'clock').median:.1f}"
        between = f"{spread(taken, 'rest').median:.0f}"
        rows.append([name, show(step, ".0f"), step.n, times, between])
    headers = ["input, worker processes", "µs a step by the clock", "n"]
    return table(rows, [*headers, "of the first", "between epochs, ms"])


def render_profile(results: Results) -> str:
    """Return the table of where the time goes, and that of what options give back."""
    profile, time = results["profile"], what_is_timed(results)
    columns, looks = [], []
    for half in ("plain", "lightning"):
        seen, step = profile[half]["seen"], profile[half]["sample"][time]
        looks.append(sum(seen.values()))
        columns.append({name: step * times / looks[-1] for name, times in seen.items()})
    names = {**columns[1], **columns[0]}
    order = sorted(names, key=lambda name: -columns[1].get(name, 0))
    rows = [[n, *(f"{c[n]:.0f}" if n in c else "" for c in columns)] for n in order]
    headers = ["of a step, µs", "plain half", "Lightning half"]
    rows.append(["how often looked at", *(str(number) for number in looks)])
    gains = profile["gains"]
    left_out = [
        [name, show(spread(taken, time), ".0f"), len(taken), show(times, ".2f")]
        for name, taken in gains.items()
        for times in [ratio(gains, name, "as it is", time)]
    ]
    more = ["the Lightning half", "µs a step", "n", "of as it is"]
    return "\n\n".join([table(rows, headers), SELF_LOG, table(left_out, more)])


RENDER = {
    "ladder": render_ladder,
    "sizes": render_sizes,
    "startup": render_startup,
    "input": render_input,
    "profile": render_profile,
}
