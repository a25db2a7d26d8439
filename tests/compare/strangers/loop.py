"""A hand-written loop: python loop.py '{"epochs": 2}'."""

import contextlib
import json
import sys
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

DEFAULTS: dict[str, Any] = {
    "epochs": 2,
    "batch_size": 8,
    "samples": 40,
    "dropout": 0.0,
    "norm": False,
    "accumulate": 1,
    "clip": 0.0,
    "bf16": False,
    "optimizer": "Adam",
    "schedule": "",
    "sanity": False,
    "workers": 0,
    "seed": 0,
}


def main(options: dict[str, Any]) -> None:
    o = {**DEFAULTS, **options}
    torch.manual_seed(o["seed"])
    layers = [nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 1)]
    if o["norm"]:
        layers.insert(1, nn.BatchNorm1d(5))
    layers.insert(-1, nn.Dropout(o["dropout"]))
    model = nn.Sequential(*layers)
    optimizer = getattr(torch.optim, o["optimizer"])(model.parameters(), lr=0.01)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.9)

    generator = torch.Generator().manual_seed(7)
    x = torch.randn(o["samples"], 6, generator=generator)
    data = TensorDataset(x, x.sum(1, keepdim=True))
    train = DataLoader(data, o["batch_size"], shuffle=True, num_workers=o["workers"])
    val = DataLoader(data, 2 * o["batch_size"])
    criterion = nn.MSELoss()

    def autocast() -> Any:
        if o["bf16"]:
            return torch.autocast("cpu", torch.bfloat16)
        return contextlib.nullcontext()

    for _ in range(o["epochs"]):
        model.train()
        for i, (x, y) in enumerate(train, start=1):
            with autocast():
                loss = criterion(model(x), y)
            (loss / o["accumulate"]).backward()
            if i % o["accumulate"] == 0 or i == len(train):
                if o["clip"]:
                    nn.utils.clip_grad_norm_(model.parameters(), o["clip"])
                optimizer.step()
                optimizer.zero_grad()
                if o["schedule"] == "step":
                    scheduler.step()
        if o["schedule"] == "epoch":
            scheduler.step()
        model.eval()
        with torch.no_grad(), autocast():
            for x, y in val:
                criterion(model(x), y)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
