"""The Viterbi algorithm along the rows of a matrix, without feedback of errors: a compiled loop."""

from __future__ import annotations

import numpy as np
from numpy import float32, float64, int32, uint8
from numpy.typing import NDArray

from lightning_compress.quantize.grid.trellis.point_loops import LARGEST, NEVER, TrellisTables, cheaper_point
from lightning_compress.quantize.grid.trellis.trellis import Bytes, Floats
from lightning_compress.runtime.compilation import compiled

Flags = NDArray[np.bool_]


@compiled
def viterbi(
    weights: Floats, zeros: Flags, costs: Floats, symbols: int, sums: Bytes, points: Floats, machine: TrellisTables
) -> None:
    """Points along a trellis, each row's on its best path from state 0: the Viterbi algorithm, without feedback.

    Args:
        weights: ``[rows, columns]`` in units of the step.
        zeros: ``[rows, columns]``, weights that are 0 and whose points are to be; ``[0, 0]`` where there are none.
        costs: and those after it as for :func:`round_with_feedback`.
        machine: see :func:`trellis_tables`.
    """
    before, ways, offsets, least, starts = machine
    states, columns = before.shape[1], weights.shape[1]
    half, last = states // 2, int32(symbols - 1)
    total, new_total = np.empty(states, float64), np.empty(states, float64)
    found, step = np.empty((columns, 4), float32), np.empty(2 * states, float64)
    came = np.empty((columns, states), uint8)
    for row in range(len(weights)):
        for state in range(states):
            total[state] = NEVER
        total[0] = 0
        for column in range(columns):
            magnitude = min(abs(weights[row, column]), LARGEST)
            table = int32(2 * symbols * int32(sums[row, column]))
            # Of even points, and only of these, one is 0.
            odd = float64(NEVER) if len(zeros) and zeros[row, column] else float64(0)
            for label in range(4):
                # The states of a quantizer lie side by side, and share its points.
                first = (label & 1) * states + (label >> 1) * half
                point, cost = cheaper_point(
                    magnitude, float32(1), offsets[first], least[first], costs, table + starts[first], last
                )
                found[column, label] = point
                more = cost + (odd if label & 1 else float64(0))
                for choice in range(first, first + half):
                    step[choice] = more + total[choice & (states - 1)]
            for state in range(states):
                one, two = step[ways[0, state]], step[ways[1, state]]
                came[column, state] = two < one
                new_total[state] = min(one, two)
            total, new_total = new_total, total
        best = np.argmin(total)
        for column in range(columns - 1, -1, -1):
            origin = before[came[column, best], best]
            label = 2 * (origin // half) + ways[came[column, best], best] // states
            point = found[column, label]
            points[row, column] = point if weights[row, column] >= 0 else -point
            best = origin
