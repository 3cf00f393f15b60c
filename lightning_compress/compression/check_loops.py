"""Compares float32 weights with what is restored: a compiled loop.

:mod:`~lightning_compress.compression.source_check` has the same in torch, for other types and without a compiler.
"""

from __future__ import annotations

import numpy as np
from numpy import float32, int64
from numpy.typing import NDArray

from lightning_compress.runtime.compilation import compiled_exactly

_MOST = np.finfo(np.float32).max
Floats = NDArray[np.float32]


@compiled_exactly
def count_far(weights: Floats, values: Floats, bounds: Floats, pruned: NDArray[np.bool_]) -> int:
    """How many weights are further from their value than their bound; −1 where a pruned one does not come back as 0.

    Args:
        weights: ``[n]``.
        values: ``[n]``.
        bounds: ``[n]``, or one for all; infinity and NaN are within none.
        pruned: ``[n]``, these need only come back as 0; or none.
    """
    same, pruning = len(bounds) == 1, len(pruned) > 0
    bound, far, wrong = min(bounds[0], _MOST), int64(0), int64(0)
    if same and not pruning:
        for place in range(len(weights)):
            far += int64(not abs(values[place] - weights[place]) <= bound)
    elif same:
        for place in range(len(weights)):
            far += int64(not (abs(values[place] - weights[place]) <= bound or pruned[place]))
            wrong += int64(pruned[place] and values[place] != float32(0))
    else:
        for place in range(len(weights)):
            is_pruned = pruning and pruned[place]
            bound = min(bounds[place], _MOST)
            far += int64(not (abs(values[place] - weights[place]) <= bound or is_pruned))
            wrong += int64(is_pruned and values[place] != float32(0))
    return -1 if wrong else far
