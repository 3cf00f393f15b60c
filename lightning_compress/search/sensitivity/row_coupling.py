"""Error feedback between rows, with as much coupling as the calibration data support.

The coupling of two rows is estimated from few data, and compensating for chance correlations is useless or harmful. So
the off-diagonal products are shrunk towards 0 (shrinkage of a covariance matrix). Two-fold cross-validation selects the
shrinkage, as for :mod:`row_steps`: the one with which steps and feedback chosen on one fold have the least distortion
on the other. If no feedback does better, there is none.

Sources: Ledoit and Wolf 2004, "A well-conditioned estimator for large-dimensional covariance matrices" (shrinkage);
Stone 1974, "Cross-validatory choice and assessment of statistical predictions".
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lightning_compress.quantize.grid.row_feedback import row_spread
from lightning_compress.search.sensitivity.row_steps import RowSteps, mean_square, row_exponents, squared_steps

_SHRINKAGES = (0.1, 0.3, 0.6)  # share taken off the products of different rows
_PRIOR = 1 / 4  # of the shrinkage times the mean sensitivity is added to the diagonal


def coupled_rows(products: Tensor, uncoupled: RowSteps) -> tuple[RowSteps, Tensor | None]:
    """Steps of one matrix and, for feedback between rows, the spread ``[rows, rows]`` (see :func:`row_spread`).

    Args:
        products: ``[2, rows, rows]``: products of the gradients of two rows, for each fold of the data.
        uncoupled: steps without feedback; returned, without a spread, if feedback has more cross-validated distortion.
    """
    if not bool(products.diagonal(dim1=1, dim2=2).any(1).all()):
        return uncoupled, None
    least, shrinkage = min((_cross_validated_distortion(products, share), share) for share in _SHRINKAGES)
    if not least < uncoupled.distortion / mean_square(uncoupled.exponents):  # also if it is NaN
        return uncoupled, None
    # Both folds together have twice the data, so chance correlations are half as large.
    coupled = _coupled(products.sum(0), shrinkage / 2)
    if coupled is None:
        return uncoupled, None
    spread, exponents = coupled
    return RowSteps(exponents, least * mean_square(exponents)), spread


def _cross_validated_distortion(products: Tensor, shrinkage: float) -> float:
    """Distortion on each fold with steps and feedback of the other, summed; the geometric mean of the steps is 1."""
    distortion = 0.0
    for chosen_by, tested_on in zip(products, products.flip(0), strict=True):
        coupled = _coupled(chosen_by, shrinkage)
        if coupled is None:
            return math.inf
        spread, exponents = coupled
        error_directions = spread + torch.eye(len(spread))
        sensitivities = ((error_directions @ tested_on) * error_directions).sum(1).double()
        distortion += float((sensitivities * squared_steps(exponents)).sum()) / mean_square(exponents)
    return distortion


def _coupled(products: Tensor, shrinkage: float) -> tuple[Tensor, Tensor] | None:
    """Spread and ``[rows]`` exponents from shrunk products; None if these are not positive definite."""
    diagonal = products.diagonal().double()
    shrunk = (1 - shrinkage) * products.double()
    shrunk.diagonal().copy_(diagonal + _PRIOR * shrinkage * diagonal.mean())
    result = row_spread(shrunk)
    return None if result is None else (result[0], row_exponents(result[1]))
