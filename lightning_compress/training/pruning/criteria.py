"""Criteria: how much each weight matters, for pruning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from lightning_compress.errors import TrainingError

Criterion = Literal["magnitude", "l1", "taylor", "movement", "fisher"]


@dataclass(frozen=True)
class Importance:
    """How a criterion scores weights; those with the lowest scores are pruned.

    Attributes:
        step: weight, gradient → what a step adds to the sum over steps; None for criteria without gradients.
        score: weight, sum over steps → score.
    """

    step: Callable[[Tensor, Tensor], Tensor] | None
    score: Callable[[Tensor, Tensor], Tensor]


def _sum_of_steps(_: Tensor, total: Tensor) -> Tensor:
    return total


IMPORTANCE: dict[Criterion, Importance] = {
    "magnitude": Importance(None, lambda weight, _: weight.square()),
    "l1": Importance(None, lambda weight, _: weight.abs()),
    "taylor": Importance(lambda weight, gradient: (weight * gradient).square(), _sum_of_steps),
    "movement": Importance(lambda weight, gradient: -weight * gradient, _sum_of_steps),
    "fisher": Importance(lambda _, gradient: gradient.square(), lambda weight, total: torch.square(weight) * total / 2),
}


def importance_of(criterion: str) -> Importance:
    """The importance of a criterion.

    ``magnitude``: w², so that a group has its squared L2 norm (See et al. 2016; for groups H. Li et al. 2017).

    ``l1``: the absolute value, so that a group has its L1 norm (H. Li et al. 2017, "Pruning filters for efficient
    ConvNets", section 3.1).

    ``taylor``: the sum of (w · gradient)² over steps, what the loss loses without the weight (P. Molchanov et al. 2019,
    "Importance estimation for neural network pruning", equation 8).

    ``movement``: minus the sum of w · gradient, so weights that move away from 0 stay (V. Sanh, T. Wolf and A. Rush
    2020, equation 4).

    ``fisher``: ½ w² times the sum of gradient² over steps, the second-order change of the loss with the diagonal of the
    empirical Fisher information (L. Theis et al. 2018, "Faster gaze prediction with dense networks and Fisher pruning",
    section 2.1). Unlike ``taylor`` it takes the weight at the time of pruning.

    Raises:
        TrainingError: there is no such criterion.
    """
    known = get_args(Criterion)
    for name, importance in IMPORTANCE.items():
        if name == criterion:
            return importance
    raise TrainingError(f"criterion {criterion!r} is unknown; write one of {', '.join(known)}")
