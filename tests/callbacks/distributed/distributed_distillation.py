"""A training on two processes with a teacher and a projection; ``distributed_training.py`` runs it."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.strategies import DDPStrategy
from small_trainings import Small, trainer

from lightning_compress import Distill


class AtTheEnd(Callback):
    """Keeps the sums of the projections, which belong to the training."""

    def __init__(self, distill: Distill) -> None:
        self.distill, self.sums = distill, []

    def on_train_end(self, trainer, pl_module):
        matrices = self.distill.state_dict()["projections"]["matrices"]
        self.sums = [float(each.double().sum()) for each in matrices.values()]


def train_and_distill(folder: Path) -> None:
    """Each rank trains on its half of the data; ``rank-K.json`` has its weights and its projection."""
    folder.mkdir(exist_ok=True)
    torch.manual_seed(3)
    distill = Distill("net", teacher=Small(width=5).net, hidden={"0": "0"}, weights={"scores": 0})
    module, strategy = Small(), DDPStrategy(process_group_backend="gloo", timeout=timedelta(seconds=60))
    end = AtTheEnd(distill)
    run = trainer(folder, distill, end, devices=2, strategy=strategy, max_epochs=2, enable_checkpointing=False)
    run.fit(module)
    weights = [float(parameter.detach().double().sum()) for parameter in module.parameters()]
    outcome = {"weights": weights, "projections": end.sums}
    (folder / f"rank-{run.global_rank}.json").write_text(json.dumps(outcome))
