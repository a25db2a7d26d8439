"""The README's part by `compare.bench.devices`.

    python -m compare.bench.devices.render

renews it from the committed results, compare/results/.
"""

from statistics import median
from textwrap import fill

from compare.bench.measured import Results, committed, conditions
from compare.bench.readme import write_part
from shared.runtime.command import one_line_errors


def render(results: Results) -> str:
    """Return what more processes change, a paragraph for each part."""
    options, sums, samplers = (results[x] for x in ("options", "sums", "samplers"))
    epochs, seeds = options["max_epochs"], options["seeds"]
    alone, shared = sums["val_loss"]
    (one, *twice), losses = results["rates"], map(median, results["rates"].values())
    of_one, same_rate, root, double = (f"{loss:.4f}" for loss in losses)
    three = samplers["shared"][0]
    counted = samplers["images"] + len(three["twice"])
    last = {name: f"{values[-1]:.5f}" for name, values in results["sync_dist"].items()}
    points = (
        f"{shared} for {alone}, the same images: gradients are added up in another"
        f" order. After {sums['other_weights']} of {sums['steps']} steps the weights"
        f" differ, in the end by {sums['weight_by']:.1e}.",
        f"{twice[0]}, half as many steps: a val_loss of {same_rate}, median of {seeds}"
        f" seeds, where {one} has {of_one}; {root} with the learning rate times the"
        f" root of 2, {double} with 2 times.",
        f"{samplers['images']} images count as {counted} for {three['processes']}"
        f" processes, which get {counted // three['processes']} each. After one epoch"
        f" that moves the val_loss from {samplers['once']:.5f} to"
        f" {three['val_loss']:.5f}.",
        f"Without `sync_dist=True` rank 0 logs its own part, after {epochs} epochs"
        f" {last['TensorBoard']} where the mean is {last['with sync_dist']}. By hand,"
        " ranks would then stop early or keep the best each for itself; a Trainer's"
        " callbacks let them vote.",
    )
    lines = [fill(p, 88, initial_indent="- ", subsequent_indent="  ") for p in points]
    head = fill(f"{conditions(results)} {epochs} epochs:", 88)
    return "\n".join([head, "", *lines])


def readme_part() -> str:
    """Return what the README says by the committed results."""
    return "\n\n".join(map(render, committed("devices").values()))


if __name__ == "__main__":
    with one_line_errors():
        write_part("devices", readme_part())
