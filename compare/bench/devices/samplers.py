"""A validation that several processes share, some of whose images count twice."""

from collections import Counter

import torch
from tabulate import tabulate
from torch.utils.data import DistributedSampler

from compare.bench.measured import Results
from compare.bench.processes import Lab
from shared.data import MNISTData
from shared.model import AutoEncoder


def measure(lab: Lab, data: MNISTData) -> Results:
    """Return which images count twice, and the loss with and without that."""
    size = lab.config.batch_size
    run = lab.train(f"3x{size}", 3, size, max_epochs=1, limit_val_batches=None)
    model = AutoEncoder(lab.config.hidden_dim, lab.config.latent_dim)
    model.load_state_dict({key: run[key] for key in model.state_dict()})
    images, _ = data.val_set.__getitems__(range(len(data.val_set)))
    with torch.no_grad():
        drawn = model.decoder(model(images))
    losses = (drawn - images.flatten(1)).double().square().mean(1)
    logged = run["val_loss"][-1, 1].item()
    shared = []
    for processes, padded in ((3, logged), (64, None)):
        dealt: list[int] = []
        for rank in range(processes):
            dealt += DistributedSampler(data.val_set, processes, rank, shuffle=False)
        shared.append(
            {
                "processes": processes,
                "how": "a run" if padded else "calculated",
                "twice": sorted(image for image, n in Counter(dealt).items() if n == 2),
                "val_loss": padded or losses[dealt].mean().item(),
            }
        )
    return {"images": len(losses), "once": losses.mean().item(), "shared": shared}


def show(results: Results) -> str:
    """Return the table."""
    samplers = results["samplers"]
    once = samplers["once"]
    rows = [("1, each image once", 0, "", f"{once:.7f}", "")]
    for one in samplers["shared"]:
        twice, loss = one["twice"], one["val_loss"]
        these = ", ".join(map(str, twice[:3])) + (", ..." if len(twice) > 3 else "")
        name = f"{one['processes']}, {one['how']}"
        rows.append((name, len(twice), these, f"{loss:.7f}", f"{loss - once:+.7f}"))
    title = f"val_loss of the same weights, {samplers['images']} images dealt out"
    headers = ["processes", "counted twice", "which", "val_loss", "moved by"]
    return f"{title}\n\n{tabulate(rows, headers, disable_numparse=True)}"
