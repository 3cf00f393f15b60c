"""Line charts for the paper's figures: dashed reference curves, integer ticks, and a y axis with a lower limit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lightning_compress.charts import ROW, chart_style, freeze_layout, lines

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

from recipes.paper.results.bleu_series import Pairs

_COLUMNS = 2  # of the legend: names here are long


def curves(
    series: Mapping[str, Pairs],
    x_label: str,
    y_label: str,
    title: str,
    *,
    baseline: float | None = None,
    intervals: Mapping[str, Pairs] | None = None,
    dashed: Mapping[str, str] | None = None,
    whole: Iterable[int] = (),
    floor: float | None = None,
) -> Figure:
    """A curve for each series, as :func:`lightning_compress.charts.lines` draws it; names are given in full.

    Args:
        series: name → points ``(x, y)``, at least one; a NaN breaks the curve.
        x_label: what x is, with its unit.
        y_label: what y is, with its unit.
        title: title of the chart.
        baseline: a dashed line at this y.
        intervals: name → ``(low, high)`` of each point.
        dashed: name of a dashed curve → name of the curve whose colour and marker it uses.
        whole: the measured x values; the axis covers them and has integer ticks only.
        floor: lower limit of the y axis if curves go below it; the x axis then ends at the last visible point.

    Raises:
        ChartError: matplotlib is not installed.
    """
    figure = lines(series, x_label, y_label, title, baseline, intervals)
    with chart_style():
        axes = figure.axes[0]
        named = dict(zip(series, axes.get_lines(), strict=False))  # the baseline comes last
        for name, line in named.items():
            line.set_label(name)
        for name, owner in (dashed or {}).items():
            _dash(named[name], named[owner])
        if tried := list(whole):
            axes.locator_params(axis="x", integer=True)
            axes.set_xlim(min(tried) - 0.3, max(tried) + 0.3)
        if floor is not None and axes.dataLim.y0 < floor:
            _cut(axes, list(named.values()), floor)
        figure.legends[0].remove()
        figure.legend(loc="outside lower center", ncols=_COLUMNS)
        figure.set_figheight(2.7 + ROW * -(-len(axes.get_lines()) // _COLUMNS))
        figure.set_layout_engine("constrained")
        return freeze_layout(figure)


def _dash(line: Line2D, owner: Line2D) -> None:
    line.set(color=owner.get_color(), marker=owner.get_marker(), linestyle="--", markerfacecolor="white", alpha=0.8)


def _cut(axes: Axes, drawn: Sequence[Line2D], floor: float) -> None:
    points = np.concatenate([np.asarray(line.get_xydata(), np.float64) for line in drawn])
    shown, top = points[points[:, 1] >= floor, 0], axes.dataLim.y1
    if not len(shown):
        return
    margin = 0.04 * (shown.max() - shown.min()) or 1.0
    axes.set_xlim(shown.min() - margin, shown.max() + 2 * margin)
    axes.set_ylim(floor, top + 0.04 * (top - floor))
    axes.set_ylabel(f"{axes.get_ylabel()}, down to {floor:g}")
