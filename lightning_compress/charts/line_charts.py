"""Line chart of named series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING

from lightning_compress.charts.style import (
    COLOURS,
    LONGEST_TITLE,
    QUIET,
    ROW,
    chart_style,
    drawable,
    empty_figure,
    format_large_numbers,
    freeze_layout,
    include_values,
    new_figure,
    shortened,
)
from lightning_compress.errors import ChartError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MAX_MARKERS = 40  # a longer series is drawn without markers
_MARKERS = "osD^vP*X"


@chart_style()
def lines(
    series: Mapping[str, Sequence[tuple[float, float]]],
    x_label: str,
    y_label: str,
    title: str = "",
    baseline: float | None = None,
    intervals: Mapping[str, Sequence[tuple[float, float]]] | None = None,
    include: tuple[float, float] | None = None,
) -> Figure:
    """One line per series, with a colour and a marker of its own.

    Args:
        series: name → points ``(x, y)`` in drawing order; a NaN interrupts the line.
        x_label: quantity and unit of x.
        y_label: quantity and unit of y.
        title: title of the chart.
        baseline: draw a dashed line at this y, such as the score of the exact weights.
        intervals: name → ``(low, high)`` for each point of that series, drawn as a band.
        include: the lowest and the highest y that the axis has to include.

    Raises:
        ChartError: intervals for an unknown series or of another length; or matplotlib is not installed.
    """
    _check(series, intervals or {})
    if not any(series.values()):
        return empty_figure("nothing measured")
    figure = new_figure(3.0 + ROW * (len(series) // 3))
    axes = figure.subplots()
    for (name, points), colour, marker in zip(series.items(), cycle(COLOURS), cycle(_MARKERS), strict=False):
        xs, ys = drawable([x for x, _ in points]), drawable([y for _, y in points])
        if intervals and name in intervals:
            low, high = (drawable([pair[side] for pair in intervals[name]]) for side in (0, 1))
            axes.fill_between(xs, low, high, color=colour, alpha=0.15, linewidth=0)
        marked = marker if len(points) <= _MAX_MARKERS else ""
        axes.plot(xs, ys, color=colour, marker=marked, markersize=4, linewidth=1.5, label=shortened(name, 20))
    if baseline is not None:
        axes.axhline(float(drawable(baseline)), color=QUIET, linewidth=1, linestyle="--", label="exact weights")
    include_values(axes, include)
    axes.set_title(shortened(title, LONGEST_TITLE))
    axes.set_xlabel(shortened(x_label, LONGEST_TITLE))
    axes.set_ylabel(shortened(y_label, LONGEST_TITLE))
    format_large_numbers(axes.xaxis, (x for points in series.values() for x, _ in points))
    format_large_numbers(axes.yaxis, (y for points in series.values() for _, y in points))
    if baseline is not None or list(series) != [title]:
        figure.legend(loc="outside lower center", ncols=2)
    return freeze_layout(figure)


def _check(
    series: Mapping[str, Sequence[tuple[float, float]]], intervals: Mapping[str, Sequence[tuple[float, float]]]
) -> None:
    for name, pairs in intervals.items():
        if name not in series:
            raise ChartError(f"intervals are given for {name!r}, and the series are {', '.join(series) or 'none'}")
        if len(pairs) != len(series[name]):
            raise ChartError(
                f"series {name!r} has {len(series[name])} points and {len(pairs)} intervals: give one for each"
            )
