"""Trainings on two processes with and without ``LayerSensitivity``; ``distributed_training.py`` runs them."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import torch
from pytorch_lightning.strategies import DDPStrategy
from small_trainings import Small, trainer
from torch.nn import functional as F

from lightning_compress import LayerSensitivity


class WithLoss(Small):
    """Its loss of a batch can be had on one process alone."""

    def loss(self, batch):
        return F.mse_loss(self(batch[0]), batch[1])


def _fit(folder, module, *callbacks):
    torch.manual_seed(3)
    strategy = DDPStrategy(process_group_backend="gloo", timeout=timedelta(seconds=60))
    run = trainer(folder, *callbacks, devices=2, strategy=strategy, max_epochs=2, enable_checkpointing=False)
    run.fit(module)
    weights = [float(parameter.double().sum()) for parameter in module.parameters()]
    return run, [*weights, float(torch.rand(()))]


def train_and_measure(folder: Path) -> None:
    """Leave what each rank saw in ``rank-K.json``."""
    folder.mkdir(exist_ok=True)
    outcome: dict[str, object] = {}
    _, outcome["plain"] = _fit(folder / "plain", WithLoss())
    callback = LayerSensitivity([0.5], groups="tensor", when=("end", 1))
    run, outcome["measured"] = _fit(folder / "measured", WithLoss(), callback)
    outcome["result"] = None if callback.result is None else callback.result.measure
    (folder / f"rank-{run.global_rank}.json").write_text(json.dumps(outcome))
