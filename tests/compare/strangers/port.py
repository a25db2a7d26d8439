"""The loop's port to Lightning: python port.py '{"epochs": 2}'."""

import json
import logging
import sys
import warnings
from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn
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


class Model(pl.LightningModule):
    def __init__(self, o: dict[str, Any]):
        super().__init__()
        self.o = o
        # encoder and head are called one after the other, the module itself never
        layers = [nn.Linear(6, 5), nn.ReLU()]
        if o["norm"]:
            layers.insert(1, nn.BatchNorm1d(5))
        self.encoder = nn.Sequential(*layers)
        self.dropout = nn.Dropout(o["dropout"])
        self.head = nn.Linear(5, 1)

    def loss(self, batch: Any) -> Tensor:
        x, y = batch
        return F.mse_loss(self.head(self.dropout(self.encoder(x))), y)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = self.loss(batch)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", self.loss(batch))

    def configure_optimizers(self) -> Any:
        optimizer = getattr(torch.optim, self.o["optimizer"])(
            self.parameters(), lr=0.01
        )
        if not self.o["schedule"]:
            return optimizer
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.9)
        return [optimizer], [{"scheduler": scheduler, "interval": self.o["schedule"]}]


def main(options: dict[str, Any]) -> None:
    o = {**DEFAULTS, **options}
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    torch.manual_seed(o["seed"])
    model = Model(o)
    generator = torch.Generator().manual_seed(7)
    x = torch.randn(o["samples"], 6, generator=generator)
    data = TensorDataset(x, x.sum(1, keepdim=True))
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=o["epochs"],
        precision="bf16-mixed" if o["bf16"] else "32-true",
        accumulate_grad_batches=o["accumulate"],
        gradient_clip_val=o["clip"] or None,
        num_sanity_val_steps=2 if o["sanity"] else 0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(
        model,
        DataLoader(data, o["batch_size"], shuffle=True, num_workers=o["workers"]),
        DataLoader(data, 2 * o["batch_size"]),
    )


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
