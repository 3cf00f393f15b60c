"""What calibration measured for a tensor on a grid: steps of rows, and the feedback of errors."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class GridGuide:
    """What calibration measured for one tensor.

    Attributes:
        exponents: ``[rows]`` int32: row r has the step · 2^(exponent / 32). Within ±32000, at most 255 apart. None for
            equal steps.
        factor: ``[columns, columns]`` of :func:`feedback_factor`: errors are fed back to later columns, except where
            weights are pruned as well. None for no feedback.
        spread: ``[rows, rows]`` of :func:`row_spread`: errors are fed back to later rows too; only with a factor. None
            for no such feedback.
    """

    exponents: Tensor | None = None
    factor: Tensor | None = None
    spread: Tensor | None = None


def checked_guide(guide: object) -> GridGuide:
    """A guide of grids; without one, equal steps and no feedback.

    Raises:
        TypeError: another guide.
    """
    if guide is not None and not isinstance(guide, GridGuide):
        raise TypeError(f"Grid is guided by a GridGuide, got {type(guide).__name__}")
    return guide or GridGuide()
