"""Bar chart of named values, ranked by size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from lightning_compress.charts.style import (
    LONGEST_TITLE,
    MAIN,
    QUIET,
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


@chart_style()
def ranked_bars(
    names: Sequence[str], values: ArrayLike, errors: ArrayLike | None = None, title: str = "", unit: str = ""
) -> Figure:
    """One bar per value, the largest at the top, labelled with its value.

    Args:
        names: one for each value.
        values: ``[n]``; values that are not finite come last, shown as a dash.
        errors: half-widths ``[n]`` of intervals around the values; or ``[2, n]``, below and above.
        title: title of the chart.
        unit: label of the value axis.

    Raises:
        ChartError: the lengths differ, or matplotlib is not installed.
    """
    given = np.asarray(values, np.float64)
    if not len(names) and not given.size:
        return empty_figure("nothing measured")
    try:
        spread = None if errors is None else np.broadcast_to(np.asarray(errors, np.float64), (2, len(names)))
    except ValueError as error:
        raise ChartError(f"errors of shape {list(np.asarray(errors).shape)} do not fit {len(names)} bars") from error
    if given.shape != (len(names),):
        raise ChartError(f"{len(names)} names and values of shape {list(given.shape)}: give one value for each name")
    order = np.argsort(np.where(np.isfinite(given), -given, np.inf), kind="stable")
    ordered = given[order]
    lengths = drawable(np.where(np.isfinite(ordered), ordered, 0.0))
    figure = new_figure(0.9 + ROW * 1.15 * len(names))
    axes = figure.subplots()
    bars = axes.barh(
        np.arange(len(names)),
        lengths,
        height=0.7,
        color=MAIN,
        xerr=None if spread is None else drawable(np.nan_to_num(spread[:, order])),
        error_kw={"ecolor": QUIET, "elinewidth": 1, "capsize": 2},
    )
    axes.bar_label(bars, [_text(value) for value in ordered], padding=4, fontsize=8.5)
    label_rows(axes, [names[place] for place in order])
    axes.axvline(0, color=QUIET, linewidth=0.8)
    axes.margins(x=0.15)
    title_at_left(figure, title)
    axes.set_xlabel(shortened(unit, LONGEST_TITLE))
    return freeze_layout(figure)


def _text(value: float) -> str:
    return f"{value:.3g}".replace("-", "−") if np.isfinite(value) else "–"
