"""Trainings on two processes that prune, penalize and skip layers; ``distributed_training.py`` runs them."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import torch
from pytorch_lightning.strategies import DDPStrategy
from small_trainings import Small, trainer
from torch import nn

from lightning_compress import LayerDrop, ProximalPenalty, PruneDuringTraining
from lightning_compress.training import structures_of


class Stacked(Small):
    """A Transformer over the four inputs."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 4, 12, batch_first=True, norm_first=True)
        self.up, self.down = nn.Linear(1, 8), nn.Linear(8, 1)
        self.net = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)

    def forward(self, x):
        return self.down(self.net(self.up(x[..., None]))[:, -1])


def train_and_prune(folder: Path) -> None:
    """Each rank trains on its half of the data; ``rank-K.json`` has its weights and how many heads are pruned."""
    folder.mkdir(exist_ok=True)
    torch.manual_seed(3)
    strategy = DDPStrategy(process_group_backend="gloo", timeout=timedelta(seconds=60), find_unused_parameters=True)
    callbacks = (
        PruneDuringTraining(0.5, end=3, every=1, granularity="head", criterion="taylor"),
        ProximalPenalty("l1", 0.5, tensors=["up*", "down*", "*linear*"]),
        LayerDrop(0.3),
    )
    module = Stacked()
    run = trainer(folder, *callbacks, devices=2, strategy=strategy, max_epochs=3, enable_checkpointing=False)
    run.fit(module)
    outcome = {
        "weights": [float(parameter.detach().double().sum()) for parameter in module.parameters()],
        "heads": sum(int(each.zero_units().sum()) for each in structures_of(module, "head")),
        "zeros": int((module.net.layers[0].linear1.weight == 0).sum()),
    }
    (folder / f"rank-{run.global_rank}.json").write_text(json.dumps(outcome))
