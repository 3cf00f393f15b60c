"""What an index costs in the file, so that a quantizer can weigh bits against error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_compress.quantize.grid.trellis.trellis import Bytes, Floats, Integers, Trellis, indices_of
from lightning_compress.runtime.cached import cached_property
from lightning_compress.runtime.compiler import has_compiler

_SYMBOLS = 64
_UNSEEN = 0.5  # added to every count


@dataclass(frozen=True, eq=False)
class Rates:
    """Bits of every index.

    Attributes:
        bits: ``[sums, quantizers, n]``: bits of each |k|, by the sum of the classes of its row and column and by
            quantizer; the last stands for all beyond.
        weight: squared error, in units of the step, that one bit is worth.
        sums: ``[columns, rows]`` sums of the classes; None where there is one.
    """

    bits: Floats
    weight: float
    sums: Bytes | None = None

    @classmethod
    def none(cls) -> Rates:
        """Bits cost nothing."""
        return cls(np.zeros((1, 2, 1), np.float32), 0.0)

    @cached_property
    def table(self) -> Floats:
        """``[sums · quantizers · n]``: weight · bits."""
        table: Floats = np.float32(self.weight) * self.bits.reshape(-1)
        return table

    def for_loops(self, rows: int, columns: int) -> tuple[Floats, int, Bytes]:
        """As compiled loops take them: the tables, how many sizes each has, and ``[rows, columns]`` sums."""
        return self.table, self.bits.shape[2], self.sums_by_row(rows, columns)

    def sums_by_row(self, rows: int, columns: int) -> Bytes:
        """``[rows, columns]`` sums, row by row in memory; 0 where there is one."""
        return np.zeros((rows, columns), np.uint8) if self.sums is None else np.ascontiguousarray(self.sums.T)

    def starts(self, quantizers: Bytes | np.uint8) -> NDArray[np.intp]:
        """Where the table of each weight begins; as large as ``sums`` and the quantizers broadcast to."""
        symbols = self.bits.shape[2]
        starts: NDArray[np.intp] = symbols * np.asarray(quantizers, np.intp)
        return starts if self.sums is None else 2 * symbols * self.sums.astype(np.intp) + starts

    def costs(self, sizes: Floats, starts: NDArray[np.intp]) -> Floats:
        """``[columns, rows]``: weight · bits of indices with these |k|, rounded down, of tables that start there."""
        cells = np.minimum(sizes, np.float32(self.bits.shape[2] - 1)).astype(np.intp)
        cells += starts
        costs: Floats = self.table.take(cells, mode="clip")
        return costs


def cheapest_whole(weights: Floats, rates: Rates) -> Integers:
    """For weights ``[rows, columns]`` the best whole numbers, int16, by error² + weight · bits on a plain grid.

    Compared are the nearest number and the next towards 0.
    """
    borders = _borders(rates)
    if has_compiler():
        from lightning_compress.quantize.grid.trellis.plain_loops import choose_cheapest

        points = np.empty(weights.shape, np.int16)
        choose_cheapest(np.ascontiguousarray(weights), borders, rates.sums_by_row(*weights.shape), points)
        return points
    columns = np.ascontiguousarray(weights.T)
    magnitudes = np.abs(columns)
    near = np.rint(magnitudes)
    cells = np.minimum(near, np.float32(borders.shape[1] - 1)).astype(np.intp)
    if rates.sums is not None:
        cells += borders.shape[1] * rates.sums.astype(np.intp)
    near -= magnitudes - near < borders.reshape(-1).take(cells)
    chosen: Integers = np.copysign(near, columns).astype(np.int16).T
    return chosen


def _borders(rates: Rates) -> Floats:
    """``[sums, n + 1]``: how far above a whole number of this size the next one towards 0 is as good.

    (x − n)² + cost(n) > (x − n + 1)² + cost(n − 1) for x − n < (cost(n) − cost(n − 1) − 1) / 2. The last size stands
    for all beyond, whose costs are equal.
    """
    costs = rates.table.reshape(rates.bits.shape)[:, 0]
    borders = np.full((len(costs), costs.shape[1] + 1), -0.5, np.float32)
    borders[:, 0] = -np.inf
    borders[:, 1:-1] = (np.diff(costs) - 1) / 2
    return borders


def measured_rates(
    indices: Integers, quantizers: Bytes | None, weight: float, sums: Bytes | None = None, count: int = 1
) -> Rates:
    """The rates of indices like these: −log₂ of how often each |k| occurs, and a bit for the sign.

    Args:
        indices: ``[columns, rows]``.
        quantizers: ``[columns, rows]``, 0 or 1; None where all are 0.
        weight: see :class:`Rates`.
        sums: ``[columns, rows]``, see :class:`Rates`.
        count: how many values the sums have.
    """
    sizes = np.minimum(np.abs(indices), _SYMBOLS - 1).astype(np.int32)
    cells = sizes if quantizers is None else sizes + _SYMBOLS * quantizers
    if sums is not None:
        cells = cells + 2 * _SYMBOLS * sums.astype(np.int32)
    counts = np.bincount(cells.reshape(-1), minlength=2 * _SYMBOLS * count).reshape(count, 2, _SYMBOLS) + _UNSEEN
    return _of_counts(counts, weight, sums)


def rates_of_points(
    points: Integers, trellis: Trellis | None, weight: float, sums: Bytes | None = None, count: int = 1
) -> Rates:
    """The rates of the indices of points ``[rows, columns]`` int16; the rest as for :func:`measured_rates`."""
    if has_compiler():
        from lightning_compress.quantize.grid.walk.counting_loops import count_sizes

        counts = np.zeros((count, 2, _SYMBOLS), np.int64)
        feedback = np.zeros(1 << 8, np.uint8) if trellis is None else trellis.feedback
        of_sums = np.empty((0, 0), np.uint8) if sums is None else sums
        count_sizes(np.ascontiguousarray(points), feedback, 1 if trellis is None else 2, of_sums, counts)
        return _of_counts(counts + _UNSEEN, weight, sums)
    columns = np.ascontiguousarray(points.T)
    if trellis is None:
        return measured_rates(columns, None, weight, sums, count)
    indices = indices_of(columns)
    return measured_rates(indices, trellis.quantizers(indices), weight, sums, count)


def _of_counts(counts: NDArray[np.floating[Any]], weight: float, sums: Bytes | None) -> Rates:
    bits = np.log2(counts.sum(-1, keepdims=True) / counts)
    bits[..., 1:] += 1
    return Rates(bits.astype(np.float32), weight, sums)
