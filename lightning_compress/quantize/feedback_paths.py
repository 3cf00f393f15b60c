"""Error feedback along a trellis: every state's best path carries the errors it has made itself.

The errors of all paths are many numbers, and a path that wins takes the history of another. So within a block of
columns histories are moved only for a few columns at a time; then their effect on the rest of the block is added up,
and forgotten. What a path chose is found at the end of the block by going back along it.

Source: Raheli et al. 1995, "Per-survivor processing: a general approach to MLSE in uncertain environments".
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lightning_compress.quantize.rates import Rates
from lightning_compress.quantize.trellis import Floats, Trellis
from lightning_compress.quantize.trellis_search import nearest_points

_HISTORY = 8  # columns
_MOST = np.float32(32760)


def best_block(
    weights: Floats, upper: Floats, trellis: Trellis, rates: Rates | None, costs: Floats
) -> tuple[Floats, Floats, Floats]:
    """The best path of each row through some columns.

    Args:
        weights: ``[columns, rows]`` in units of the step, errors of earlier columns taken off.
        upper: ``[columns, columns]`` of the factor, those of the block.
        trellis: the machine.
        rates: bits of the indices of these columns; None leaves them out of the costs.
        costs: ``[states, rows]`` of the best path into each state so far.

    Returns:
        Points and errors (over U[c, c]), each ``[columns, rows]``, and ``[states, rows]`` costs that let the next block
        begin only where this one ended.
    """
    columns, rows = weights.shape
    states = trellis.states
    before, labels = trellis.arrivals
    arriving = before + states * (labels & 1)  # [2, states]: where the two ways into a state begin, by parity and state
    from_first, way_first = (rows * part[0][:, None] + np.arange(rows) for part in (before, arriving))
    from_other, way_other = (rows * (part[1] - part[0])[:, None] for part in (before, arriving))
    quantizers = np.array(trellis.quantizer, np.uint8)
    allowed = np.stack([2 * quantizers, 2 * quantizers + 1])[:, :, None]  # [parities, states, 1]
    errors, points = (np.empty((columns, states * rows), np.float32) for _ in range(2))
    origins = np.empty((columns, states * rows), np.intp)
    values = np.repeat(weights[:, None], states, 1).reshape(columns, -1)
    for start in range(0, columns, _HISTORY):
        stop = min(start + _HISTORY, columns)
        history = np.empty((0, states * rows), np.float32)
        ancestors = np.arange(states * rows)
        for column in range(start, stop):
            value = values[column].take(ancestors, mode="clip") - upper[start:column, column] @ history
            scale = upper[column, column]
            here = None if rates is None else rates.of_columns(slice(column, column + 1))
            magnitudes = np.minimum(np.abs(value), _MOST).reshape(states, rows)
            found, step = nearest_points(magnitudes, allowed, here, scale)  # [parities, states, rows]
            step += costs
            first, second = step.reshape(2 * states, rows)[arriving]
            came = second < first
            costs = np.minimum(first, second)
            origin = (from_first + from_other * came).reshape(-1)
            way = (way_first + way_other * came).reshape(-1)
            value = value.take(origin, mode="clip")
            points[column] = np.copysign(found.reshape(-1).take(way, mode="clip"), value)
            errors[column] = (value - points[column]) / scale
            origins[column] = origin
            ancestors = ancestors.take(origin, mode="clip")
            history = np.concatenate([history.take(origin, 1, mode="clip"), errors[column : column + 1]])
        values[stop:] = values[stop:].take(ancestors, 1, mode="clip")
        values[stop:] -= upper[start:stop, stop:].T @ history
    state = costs.argmin(0)
    following = np.full((states, rows), np.inf, np.float32)
    following[state, np.arange(rows)] = 0
    best = _trace_back(origins, rows * state + np.arange(rows))
    return np.take_along_axis(points, best, 1), np.take_along_axis(errors, best, 1), following


def _trace_back(origins: NDArray[np.intp], place: NDArray[np.intp]) -> NDArray[np.intp]:
    """``[columns, rows]``: where in each column the paths are that end in ``place``, by where each state came from."""
    places = np.empty((len(origins), len(place)), np.intp)
    for column in reversed(range(len(origins))):
        places[column] = place
        place = origins[column].take(place)
    return places
