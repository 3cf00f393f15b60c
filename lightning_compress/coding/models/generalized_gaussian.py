"""Generalized Gaussian weights for small integers, computed with exactly rounded operations: equal on every machine.

A symbol of magnitude m has a probability proportional to 2^(−a · m^(j/4)): j = 4 is the Laplace distribution, j = 8 the
normal one. Powers are products of square roots, because library logarithms and exponentials differ between machines in
their last bits, and the decoder must compute the encoder's weights exactly.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SHAPES = range(1, 9)  # j, the exponent of the magnitude in quarters
SCALES = 256  # a = 2^(4 − i/16)
FRACTIONS = 64
COUNT = 32  # what an observed word adds to these weights; pooling adds as much to the symbol of the opposite sign
_STEEPEST = 4


def _roots() -> NDArray[np.float64]:
    """``[64]``: 2^(−r/64), as the product of 2^(−1/2), 2^(−1/4), … 2^(−1/64) over the bits that are set in r."""
    table, root = np.ones(FRACTIONS), np.float64(0.5)
    for bit in (32, 16, 8, 4, 2, 1):
        root = np.sqrt(root)
        table = np.where(np.arange(FRACTIONS) & bit, table * root, table)
    return table


ROOTS = _roots()


_NUMBERS = np.arange(SCALES)
_SLOPES: NDArray[np.float64] = np.ldexp(ROOTS[_NUMBERS % 16 * 4], _STEEPEST - _NUMBERS // 16)


def slopes(scales: NDArray[np.int64]) -> NDArray[np.float64]:
    """The slope a = 2^(4 − i/16) of each scale number i."""
    return _SLOPES[scales]


def powers(magnitudes: NDArray[np.int64], shape: int) -> NDArray[np.float64]:
    """m^(j/4): the product of j factors √√m, from the left."""
    root = np.sqrt(np.sqrt(magnitudes.astype(np.float64)))
    result = root
    for _ in range(shape - 1):
        result = result * root
    return result


def prior(
    magnitudes: NDArray[np.int64], shape: int, scales: NDArray[np.int64], height: int | NDArray[np.int64]
) -> NDArray[np.int64]:
    """``[groups, symbols]`` integer weights of at least 1; ``[heights, groups, symbols]`` of several heights.

    With n of :func:`prior_steps` the weight is ⌊2^(height − n/64)⌋; the table of roots gives the fractional power.

    Args:
        magnitudes: ``[symbols]`` integers m from 0.
        shape: j, from 1 to 8.
        scales: ``[groups]`` numbers i, from 0 (narrow) to 255 (wide).
        height: base-2 logarithm of the weight of magnitude 0, from 0 to 30; or several, ``[heights]``.
    """
    steps = prior_steps(magnitudes, shape, scales)
    weights: NDArray[np.float64] = np.ldexp(
        ROOTS[steps % FRACTIONS], np.asarray(height)[..., None, None] - steps // FRACTIONS
    )
    return np.maximum(np.floor(weights), 1.0).astype(np.int64)


def prior_steps(magnitudes: NDArray[np.int64], shape: int, scales: NDArray[np.int64]) -> NDArray[np.int64]:
    """``[groups, symbols]``: n = ⌊64 · min(a · m^(j/4), 64)⌋, in 64ths of a bit; arguments as for :func:`prior`."""
    exponents = np.minimum(slopes(scales)[:, None] * powers(magnitudes, shape), 64.0)
    steps: NDArray[np.int64] = np.floor(exponents * FRACTIONS).astype(np.int64)
    return steps
