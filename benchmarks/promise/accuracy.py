"""Replays with another model and another score: the accuracy of the BERT-like classifier, which is trained here.

Needs scikit-learn, whose documentation is part of the data. Searches read few of the items that the model was not
trained on, and are judged on all others.
"""

from __future__ import annotations

import numpy as np
import torch
from pytorch_lightning import Trainer, seed_everything
from torch import Tensor
from torch.utils.data import ConcatDataset, DataLoader

from benchmarks.classification.__main__ import bert
from benchmarks.promise.items import Floats
from benchmarks.promise.measured import Case, Measured
from lightning_compress import Weights
from lightning_compress.search import uniform_families

MAX_DROP = 1.0  # percent of the items
STRENGTHS = np.linspace(-7.0, -3.2, 21)  # files that lose from nothing to some percent


def case() -> Case:
    """The classifier, trained with a fixed seed, and its files; uniform grids without data."""
    seed_everything(1)
    task = bert()
    module, loader = task.module, DataLoader(task.split.train, 64, shuffle=True)
    trainer = Trainer(
        max_epochs=task.epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, loader, DataLoader(task.split.valid, 256))
    unseen: DataLoader[list[Tensor]] = DataLoader(ConcatDataset([task.split.valid, task.split.test]), 256)
    exact = {name: tensor.clone() for name, tensor in module.eval().state_dict().items()}
    raw_bytes = sum(tensor.numel() * tensor.element_size() for tensor in exact.values())
    (family,) = uniform_families(Weights.from_state_dict(exact, module=module))
    before, answers = _answered(module, unseen)
    files = []
    for strength in STRENGTHS.tolist():
        archive = family.archive(strength)
        module.load_state_dict(archive.restore())
        statistics, given = _answered(module, unseen)
        divergence = (answers.exp() * (answers - given)).sum(1).numpy()
        size = (float(np.log(archive.nbytes)),)
        files.append(Measured(size, archive.nbytes, raw_bytes / archive.nbytes, statistics, divergence))
    return Case("classifier", (1.0,), before, tuple(files), _percent, MAX_DROP)


@torch.no_grad()
def _answered(module: torch.nn.Module, data: DataLoader[list[Tensor]]) -> tuple[Floats, Tensor]:
    """Of each item ``[n, 2]`` whether it is right, in percent, and a one; and ``[n, labels]`` log-probabilities."""
    outputs, labels = zip(*((module(x), y) for x, y in data), strict=True)
    answers = torch.cat(outputs)
    right = 100 * (answers.argmax(1) == torch.cat(labels)).double().numpy()
    return np.stack([right, np.ones_like(right)], 1), answers.log_softmax(1)


def _percent(sums: Floats) -> float:
    return float(sums[0] / sums[1])
