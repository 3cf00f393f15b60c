"""Histogram panels of the weights before and after compression."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lightning_compress.charts.histogram import Histogram
from lightning_compress.charts.style import (
    PALE,
    QUIET,
    SECOND,
    WIDTH,
    chart_style,
    count_text,
    empty_figure,
    new_figure,
    shortened,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = 2
_FLOOR = 0.6  # base of the bars on the logarithmic axis: below a count of 1
# The layout is fixed: measuring labels takes most of the drawing time, and these labels always have similar widths.
_LEFT, _RIGHT, _TOP, _BOTTOM = 0.72, 0.1, 0.62, 0.62  # inches around all panels
_PANEL, _BETWEEN_ROWS, _BETWEEN_COLUMNS = 1.0, 0.5, 0.55  # inches: height of a panel, gaps


@chart_style()
def weight_histograms(before: Mapping[str, Histogram], after: Mapping[str, Histogram]) -> Figure:
    """One panel per class: weights before compression as an area, after it as a line, counts on a logarithmic axis.

    Pruning appears as a spike at 0 and quantization as a comb of its levels, as in figure 1 of the reference paper.

    Args:
        before: class → histogram of the exact weights; classes may be missing.
        after: class → histogram of the restored weights; classes may be missing.

    Raises:
        ChartError: matplotlib is not installed.
    """
    names = list(dict.fromkeys((*before, *after)))
    if not names:
        return empty_figure("no weights")
    rows = -(-len(names) // _COLUMNS)
    figure, panels = _panels(rows)
    for panel, name in zip(panels, names, strict=False):
        _draw(panel, before.get(name), after.get(name))
        panel.set_title(shortened(name, 24), fontsize=9.5)
    for panel in panels[len(names) :]:
        panel.set_axis_off()
    height = figure.get_figheight()
    figure.suptitle("Weights by value", fontsize=11, fontweight="bold", x=0.02, y=1 - 0.1 / height, ha="left", va="top")
    figure.supylabel("weights in a bin", color=QUIET, fontsize=9.5, x=0.1 / WIDTH, ha="left")
    known = {
        label: artist for panel in panels for artist, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    figure.legend(known.values(), known.keys(), loc="lower center", ncols=2)
    return figure


def _panels(rows: int) -> tuple[Figure, list[Axes]]:
    inner = rows * _PANEL + (rows - 1) * _BETWEEN_ROWS
    height = _TOP + inner + _BOTTOM
    figure = new_figure(height)
    figure.set_layout_engine("none")
    width = (WIDTH - _LEFT - _RIGHT - (_COLUMNS - 1) * _BETWEEN_COLUMNS) / _COLUMNS
    around = {
        "left": _LEFT / WIDTH,
        "right": 1 - _RIGHT / WIDTH,
        "top": 1 - _TOP / height,
        "bottom": _BOTTOM / height,
        "hspace": _BETWEEN_ROWS / _PANEL,
        "wspace": _BETWEEN_COLUMNS / width,
    }
    return figure, figure.subplots(rows, _COLUMNS, squeeze=False, gridspec_kw=around).ravel().tolist()


def _draw(axes: Axes, before: Histogram | None, after: Histogram | None) -> None:
    axes.set_yscale("log", nonpositive="clip")
    axes.yaxis.set_major_formatter(lambda value, _: count_text(value))
    axes.minorticks_off()
    axes.locator_params(axis="x", nbins=4)
    highest = 1.0
    if before is not None:
        axes.stairs(before.counts, before.edges, baseline=_FLOOR, fill=True, color=PALE, label="before")
        highest = max(highest, before.counts.max(initial=0))
    if after is not None:
        axes.stairs(after.counts, after.edges, baseline=_FLOOR, color=SECOND, linewidth=0.8, label="after")
        highest = max(highest, after.counts.max(initial=0))
    axes.set_ylim(_FLOOR, 3 * highest)
