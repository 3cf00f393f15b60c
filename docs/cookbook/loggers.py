"""Several loggers at once: CSV, Weights & Biases without a network, TensorBoard and MLflow if they are installed."""

import csv
import os
from importlib.util import find_spec
from pathlib import Path

import torch
from pytorch_lightning import LightningModule, Trainer, seed_everything
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger, MLFlowLogger, TensorBoardLogger, WandbLogger
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from lightning_compress import CompressCheckpoint


def points(count: int) -> TensorDataset:
    """Points ``[count, 8]``, and whether their first half is longer than their second."""
    inputs = torch.randn(count, 8)
    return TensorDataset(inputs, (inputs[:, :4].norm(dim=1) > inputs[:, 4:].norm(dim=1)).long())


class LitClassifier(LightningModule):
    def __init__(self, width: int = 128) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.layers = nn.Sequential(
            nn.Linear(8, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2)
        )

    def training_step(self, batch, index):
        inputs, labels = batch
        loss = cross_entropy(self.layers(inputs), labels)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, index):
        inputs, labels = batch
        self.log("val_accuracy", (self.layers(inputs).argmax(1) == labels).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


if __name__ == "__main__":
    seed_everything(1)
    os.environ.setdefault("WANDB_SILENT", "true")
    loggers = [CSVLogger("logs", name="csv"), WandbLogger("example", "logs", offline=True)]
    if find_spec("tensorboard"):
        loggers.append(TensorBoardLogger("logs", name="tensorboard"))
    if find_spec("mlflow"):
        loggers.append(MLFlowLogger("example", tracking_uri="sqlite:///mlflow.db"))
    trainer = Trainer(
        max_epochs=3,
        callbacks=[
            ModelCheckpoint("checkpoints", filename="best", monitor="val_accuracy", mode="max"),
            CompressCheckpoint(),
        ],
        accelerator="cpu",
        logger=loggers,
        log_every_n_steps=10,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(LitClassifier(), DataLoader(points(1024), 32, shuffle=True), DataLoader(points(512), 64))

    with Path("logs/csv/version_0/metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["compression/bytes"]]
    for row in rows:
        print(
            f"step {row['step']}: {float(row['compression/bytes']):,.0f} bytes, {float(row['compression/ratio']):.2f}×"
        )
