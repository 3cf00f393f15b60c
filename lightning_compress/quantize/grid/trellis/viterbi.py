"""The best path of every row through a trellis: the Viterbi algorithm.

Sources: Viterbi 1967, "Error bounds for convolutional codes and an asymptotically optimum decoding algorithm"; Fischer
and Wang 1992, "Entropy-constrained trellis-coded quantization" (bits among the costs).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lightning_compress.quantize.grid.trellis.rates import Rates
from lightning_compress.quantize.grid.trellis.trellis import Trellis


def trellis_points(
    weights: Tensor, trellis: Trellis, rates: Rates | None = None, *, zeros: Tensor | None = None
) -> Tensor:
    """Of the points on paths from state 0, those nearest to the weights.

    Args:
        weights: ``[rows, columns]``, at least one column, in units of the (row's) step, none beyond ±32760.
        trellis: the trellis.
        rates: bits of the indices, to minimize squared error + weight · bits; None minimizes the squared error alone.
        zeros: ``[rows, columns]`` bool, weights whose point is to be 0, and that are 0; None where there are none.

    Returns:
        ``[rows, columns]`` int16.
    """
    # Imported here, since reading files needs no compiler.
    from lightning_compress.quantize.grid.trellis.point_loops import trellis_tables
    from lightning_compress.quantize.grid.trellis.viterbi_loops import viterbi

    rows = np.ascontiguousarray(weights.numpy(force=True), np.float32)
    even = np.empty((0, 0), np.bool_) if zeros is None else np.ascontiguousarray(zeros.numpy(force=True))
    points = np.empty(rows.shape, np.int16)
    costs, symbols, sums = (rates or Rates.none()).for_loops(*rows.shape)
    viterbi(rows, even, costs, symbols, sums, points, trellis_tables(trellis, symbols))
    return torch.from_numpy(points)
