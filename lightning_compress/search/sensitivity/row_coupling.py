"""Steps of rows that make up for each other's errors, by as much as the data show that they can.

How two rows are felt together is known from few data, and what these show by chance would be made up for in vain, or
worse. So the products of different rows count less than those of a row with itself (shrinkage). How much less the data
tell themselves, as they do for :mod:`row_steps`: it is the share with which feedback and steps by
one half of them do the least harm to the other half. Where no feedback does better, there is none.

Sources: Ledoit and Wolf 2004, "A well-conditioned estimator for large-dimensional covariance matrices" (shrinkage);
Stone 1974, "Cross-validatory choice and assessment of statistical predictions".
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lightning_compress.quantize.grid.row_feedback import row_spread
from lightning_compress.search.sensitivity.row_steps import RowSteps, mean_square, row_exponents, squared_steps

_SHARES = (0.1, 0.3, 0.6)  # taken off the products of different rows
_PRIOR = 1 / 4  # of that share of the mean sensitivity is added to each


def coupled_rows(products: Tensor, alone: RowSteps) -> tuple[RowSteps, Tensor | None]:
    """Steps and, for feedback between rows, the spread ``[rows, rows]`` (see :func:`row_spread`) of one matrix.

    Args:
        products: ``[2, rows, rows]``: products of the gradients of two rows, as either half of the data shows them.
        alone: steps without feedback, which are kept where feedback does more harm to data that were not seen.
    """
    if not bool(products.diagonal(dim1=1, dim2=2).any(1).all()):
        return alone, None
    tried = [(_harm_to_the_other(products, share), share) for share in _SHARES]
    least, share = min(tried)
    # What chance shows in twice the data is half as much of what is there.
    coupled = _coupled(products.sum(0), share / 2) if least < alone.harm / mean_square(alone.exponents) else None
    if coupled is None:
        return alone, None
    spread, exponents = coupled
    return RowSteps(exponents, least * mean_square(exponents)), spread


def _harm_to_the_other(products: Tensor, share: float) -> float:
    """What steps and feedback by one half do to the other, both ways added up; steps have the geometric mean 1."""
    harm = 0.0
    for one, other in zip(products, products.flip(0), strict=True):
        coupled = _coupled(one, share)
        if coupled is None:
            return math.inf
        spread, exponents = coupled
        moved = spread + torch.eye(len(spread))
        felt = ((moved @ other) * moved).sum(1).double()
        harm += float((felt * squared_steps(exponents)).sum()) / mean_square(exponents)
    return harm


def _coupled(products: Tensor, share: float) -> tuple[Tensor, Tensor] | None:
    """Spread and ``[rows]`` exponents by products that are shrunk; None where they are not positive definite."""
    diagonal = products.diagonal().double()
    shrunk = (1 - share) * products.double()
    shrunk.diagonal().copy_(diagonal + _PRIOR * share * diagonal.mean())
    found = row_spread(shrunk)
    return None if found is None else (found[0], row_exponents(found[1]))
