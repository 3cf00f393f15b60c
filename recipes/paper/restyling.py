"""What the experiments' pictures change about a chart of curves: dashes for another's curve, whole bits, a cut axis."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from lightning_compress.charts.style import drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

EXACT = "exact weights"  # what a chart calls its baseline


def curves(figure: Figure) -> dict[str, Line2D]:
    """The named curves of a figure of one panel, by their names, without the line of the exact weights."""
    named = {str(line.get_label()): line for axes in figure.axes for line in axes.get_lines()}
    return {name: line for name, line in named.items() if name != EXACT}


@drawing()
def dash(figure: Figure, beside: Mapping[str, str]) -> None:
    """Draw curves dashed, in the colour and with the marker, then hollow, of those they belong to.

    Args:
        figure: of one panel, with a legend.
        beside: name of a curve → name of the one it belongs to.
    """
    known = curves(figure)
    for name, owner in beside.items():
        if name not in known or owner not in known:
            continue
        line, other = known[name], known[owner]
        line.set(color=other.get_color(), marker=other.get_marker(), linestyle="--", markerfacecolor="white", alpha=0.8)
    for legend in list(figure.legends):
        legend.remove()
        figure.legend(loc="outside lower center", ncols=2)


def whole_numbers(figure: Figure, tried: Iterable[int]) -> None:
    """Tick the x axis at whole numbers alone, from the first to the last that was tried, found or not."""
    first, last = min(numbers := list(tried)), max(numbers)
    for axes in figure.axes:
        axes.locator_params(axis="x", integer=True)
        axes.set_xlim(first - 0.3, last + 0.3)


def cut_below(figure: Figure, floor: float) -> None:
    """Let the y axis begin at ``floor`` where curves go lower, and the x axis end where the last of them does.

    The label of the y axis says so.
    """
    points = np.concatenate([np.asarray(line.get_xydata(), np.float64) for line in curves(figure).values()])
    shown = points[points[:, 1] >= floor, 0]
    for axes in figure.axes:
        top = axes.dataLim.y1
        if axes.dataLim.y0 >= floor or not len(shown):
            continue
        margin = 0.04 * (shown.max() - shown.min())
        axes.set_xlim(shown.min() - margin, shown.max() + 2 * margin)
        axes.set_ylim(floor, top + 0.04 * (top - floor))
        axes.set_ylabel(f"{axes.get_ylabel()}, shown down to {floor:g}")
