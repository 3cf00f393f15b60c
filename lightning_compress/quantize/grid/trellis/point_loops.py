"""Which point of a trellis a weight goes to on one way: a compiled loop, and the tables of a trellis that loops read.

All arrays of floating-point numbers that come and go are float32. A label is 2 · quantizer + parity of an index, see
:mod:`lightning_compress.quantize.grid.trellis.trellis`.
"""

from __future__ import annotations

import numpy as np
from numpy import float32, int32
from numpy.typing import NDArray

from lightning_compress.quantize.grid.trellis.trellis import Floats, Trellis
from lightning_compress.runtime.compilation import compiled

LARGEST = float32(32760)  # magnitude that is searched for
NEVER = float32(1e30)  # cost of a path that is not taken
ROUNDING = float32(1.5 * 2**23)  # added and taken away it rounds to whole numbers, halves to even, up to 2^22
# What the points of a label are: an offset plus multiples of 4, and none less than the least. The magnitudes are 0, 4,
# 8 …; 2, 6, 10 …; 0, 3, 7 …; 1, 5, 9 ….
_OFFSETS = np.array([0, 2, -1, 1], np.float32)
_LEAST = np.array([0, 2, 0, 1], np.float32)

TrellisTables = tuple[NDArray[np.int32], NDArray[np.int32], Floats, Floats, NDArray[np.int32]]


def trellis_tables(trellis: Trellis, symbols: int) -> TrellisTables:
    """A trellis as the loops read it.

    Args:
        trellis: the trellis.
        symbols: how many costs a table has for each quantizer.

    Returns:
        ``[2, states]`` the two states before each, and where among the choices ``parity · states + state`` the way from
        them is; and ``[2 · states]`` each, for every choice: the offset of its points, the least of them, and where its
        costs begin.
    """
    before, labels = trellis.arrivals
    ways = before + trellis.states * (labels & 1)
    quantizers = np.array(trellis.quantizer)
    label = np.concatenate([2 * quantizers, 2 * quantizers + 1])
    starts = symbols * (label >> 1)
    return before.astype(np.int32), ways.astype(np.int32), _OFFSETS[label], _LEAST[label], starts.astype(np.int32)


@compiled
def cheaper_point(
    magnitude: float, inverse: float, offset: float, least: float, costs: Floats, begin: int, last: int
) -> tuple[float, float]:
    """Of the points of a label the nearest to a magnitude or the next towards 0, whichever costs less; and its cost.

    Points are 4 apart, but 0 may be less than 4 from its neighbour. ``begin`` is where the label's costs begin.
    """
    nearest = max(float32(4 * int32((magnitude - offset) * float32(0.25) + float32(0.5))) + offset, least)
    below = max(nearest - float32(4), least)
    nearest_error, below_error = (magnitude - nearest) * inverse, (magnitude - below) * inverse
    nearest_size, below_size = int32(nearest + float32(1)) >> 1, int32(below + float32(1)) >> 1
    nearest_cost = nearest_error * nearest_error + costs[begin + min(nearest_size, last)]
    below_cost = below_error * below_error + costs[begin + min(below_size, last)]
    if below_cost < nearest_cost:
        return below, below_cost
    return nearest, nearest_cost
