"""The optimizer of a recipe."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch


def make_optimizer(
    name: Literal["adam", "sgd"],
    weights: Iterable[torch.nn.Parameter],
    *,
    learning_rate: float,
    betas: tuple[float, float],
    weight_decay: float,
    clips: bool,
) -> torch.optim.Optimizer:
    """Adam with decoupled weight decay, or SGD without momentum.

    Args:
        name: ``adam`` or ``sgd``.
        weights: what is trained.
        learning_rate: highest learning rate.
        betas: decay rates of Adam's two averages.
        weight_decay: 0 for none.
        clips: whether Lightning clips gradients, which it cannot do for the fused update. That is several times as
            fast on a CPU.
    """
    if name == "sgd":
        return torch.optim.SGD(weights, lr=learning_rate, weight_decay=weight_decay, fused=not clips)
    return torch.optim.AdamW(
        weights, lr=learning_rate, weight_decay=weight_decay, betas=betas, eps=1e-9, fused=not clips
    )
