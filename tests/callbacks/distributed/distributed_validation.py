"""Trainings on two processes whose callbacks validate on both; ``distributed_training.py`` runs them."""

from __future__ import annotations

import json
import os
import signal
from datetime import timedelta
from pathlib import Path

import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.strategies import DDPStrategy
from small_trainings import Small, trainer
from torch import nn
from torch.nn import functional as F
from torchmetrics import MeanSquaredError

from lightning_compress import CompressCheckpoint, LayerSensitivity, TranslationQuality

STEPS: list[int] = []  # of Terminated; what a module holds is restored after each validation


class Scored(Small):
    """A batch norm, whose buffers differ between ranks, and both kinds of metrics, each over a half of the data."""

    def __init__(self, width: int = 400, failing_rank: int | None = None) -> None:
        super().__init__(width)
        self.net = nn.Sequential(nn.Linear(4, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, 1))
        self.error = MeanSquaredError()
        self.failing_rank = failing_rank

    def validation_step(self, batch, batch_idx):
        x, y = batch
        if self.global_rank == self.failing_rank and "log" in vars(self):  # a callback validates
            raise RuntimeError("no memory left")
        self.log("val_loss", F.mse_loss(self(x), y), sync_dist=True)
        self.error(self(x), y)

    def on_validation_epoch_end(self):
        self.log("val_error", self.error.compute(), sync_dist=True)


class Terminated(Scored):
    """Every process is asked to end while the first candidate of a search is validated."""

    def validation_step(self, batch, batch_idx):
        if "log" in vars(self):
            STEPS.append(batch_idx)
            if len(STEPS) == 5:
                os.kill(os.getpid(), signal.SIGTERM)
        super().validation_step(batch, batch_idx)


class Metrics(Scored):
    """Logs the metric of torchmetrics itself."""

    def on_validation_epoch_end(self):
        self.log("val_error", self.error)


def _fit(folder, module, *callbacks, monitor="val_loss", **options):
    torch.manual_seed(3)
    strategy = DDPStrategy(process_group_backend="gloo", timeout=timedelta(seconds=60))
    saved = ModelCheckpoint(folder, filename="best", monitor=monitor)
    run = trainer(folder, *callbacks, saved, devices=2, strategy=strategy, max_epochs=2, **options)
    run.fit(module)
    weights = [float(parameter.detach().double().sum()) for parameter in (*module.parameters(), *module.buffers())]
    metrics = {name: float(value) for name, value in run.callback_metrics.items()}
    return run, [*weights, metrics, float(torch.rand(())), run.global_step]


def _auto(**options):
    return CompressCheckpoint("auto", max_drop=9.0, effort="quick", confirm=False, **options)


def train_and_validate_together(folder: Path) -> None:
    """Leave what each rank saw in ``rank-K.json``."""
    folder.mkdir(exist_ok=True)
    outcome: dict[str, object] = {}
    run, outcome["plain"] = _fit(folder / "plain", Scored())
    _, outcome["auto"] = _fit(folder / "auto", Scored(), _auto())
    _, outcome["metrics"] = _fit(
        folder / "metrics", Metrics(), _auto(search_at="first", mode="min"), monitor="val_error"
    )
    _, outcome["failing"] = _fit(folder / "failing", Scored(failing_rank=1), _auto(), LayerSensitivity([0.5]))
    _, outcome["terminated"] = _fit(folder / "terminated", Terminated(), _auto())
    diagnostics = LayerSensitivity([0.5], when=("end", 1)), TranslationQuality(metric="val_loss", plan="half")
    _, outcome["diagnostics"] = _fit(folder / "diagnostics", Scored(), *diagnostics, logger=CSVLogger(folder, "", ""))
    result = diagnostics[0].result
    outcome["sensitivity"] = None if result is None else [result.measure, result.baseline]
    (folder / f"rank-{run.global_rank}.json").write_text(json.dumps(outcome))
