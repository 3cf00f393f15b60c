"""Heat map of a value for each row and column."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lightning_compress.charts.style import (
    LONGEST_TITLE,
    ROW,
    chart_style,
    drawable,
    empty_figure,
    freeze_layout,
    label_rows,
    new_figure,
    shortened,
    title_at_left,
)
from lightning_compress.errors import ChartError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOURS = "cividis"  # perceptually uniform, also with red-green colour blindness
_MISSING = "#ECEFF1"
_LONG, _MAX_DECIMALS = 1e7, 6  # longer numbers are written with an exponent
_MAX_ANNOTATED_COLUMNS = 8  # in more columns, numbers would not fit


@chart_style()
def heat_map(rows: Sequence[str], columns: Sequence[str], values: ArrayLike, title: str = "", unit: str = "") -> Figure:
    """One coloured cell per value, annotated with the value if there are at most eight columns.

    Args:
        rows: names from top to bottom, such as classes of weights.
        columns: names from left to right, such as strengths.
        values: ``[rows, columns]``; a value that is not finite is a grey cell with a dash.
        title: title of the chart.
        unit: label of the colour scale.

    Raises:
        ChartError: ``values`` has another shape, or matplotlib is not installed.
    """
    table = np.asarray(values, np.float64)
    if not rows or not columns:
        return empty_figure("nothing measured")
    if table.shape != (len(rows), len(columns)):
        raise ChartError(
            f"the values of a heat map have the shape {list(table.shape)}, expected {len(rows)} rows × "
            f"{len(columns)} columns, one for each name"
        )
    figure = new_figure(1.5 + ROW * 1.1 * len(rows))
    axes = figure.subplots()
    table = np.where(np.isfinite(table), drawable(table), np.nan)
    known = np.ma.masked_invalid(table)
    axes.set_facecolor(_MISSING)
    picture = axes.imshow(known, cmap=_COLOURS, aspect="auto", interpolation="nearest")
    if known.count():
        figure.colorbar(picture, ax=axes, label=shortened(unit, LONGEST_TITLE), shrink=0.9)
    label_rows(axes, list(rows))
    axes.set_xticks(
        range(len(columns)), [shortened(name, 18) for name in columns], rotation=35, ha="right", rotation_mode="anchor"
    )
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    title_at_left(figure, title)
    if len(columns) <= _MAX_ANNOTATED_COLUMNS:
        bright, decimals = _share(table) > 0.55, _decimals(table)
        for (row, column), value in np.ndenumerate(table):
            text = _text(value, decimals) if np.isfinite(value) else "–"
            dark = bright[row, column] or not np.isfinite(value)
            axes.text(column, row, text, ha="center", va="center", color="black" if dark else "white", fontsize=8)
    return freeze_layout(figure)


def _text(value: float, decimals: int) -> str:
    if abs(value) >= _LONG or decimals > _MAX_DECIMALS:
        return f"{value:.2g}"
    return f"{round(value, decimals) + 0.0:.{decimals}f}"


def _share(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """The values scaled to 0 for the smallest and 1 for the largest; 0 where not finite."""
    finite = np.isfinite(table)
    if not finite.any():
        return np.zeros_like(table)
    low, high = table[finite].min(), table[finite].max()
    return np.where(finite, table - low, 0.0) / ((high - low) or 1.0)


def _decimals(table: NDArray[np.float64]) -> int:
    """Decimals for all cells: 2 if the values span 2 to 20, 3 from 0.2 to 2, …; fewer if no digit is lost."""
    finite = table[np.isfinite(table)]
    span = float(np.ptp(finite)) or float(abs(finite[0])) if finite.size else 0.0
    decimals = max(0, 2 - math.floor(math.log10(span / 2))) if span else 0
    while decimals and np.array_equal(finite.round(decimals), finite.round(decimals - 1)):
        decimals -= 1
    return decimals
