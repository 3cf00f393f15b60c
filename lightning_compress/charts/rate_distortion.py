"""Scores against bytes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lightning_compress.charts.style import (
    MAIN,
    PALE,
    QUIET,
    chart_style,
    count_text,
    empty_figure,
    freeze_layout,
    new_figure,
    shortened,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Point = tuple[str, float, float]
_NAMED = 12  # points; more names would hide each other


@chart_style()
def frontier(points: Sequence[Point], baseline: float | None = None) -> Figure:
    """What each file scores at its bytes, with a line through those that none beats in both.

    Args:
        points: ``(label, bytes, score)``, higher scores are better, in any order; a score that is not finite is left
            out. Labels may be empty, and are left out where there are more than twelve.
        baseline: score of the exact weights, a dashed line.

    Raises:
        ChartError: matplotlib is not installed.
    """
    shown = sorted((p for p in points if math.isfinite(p[2]) and p[1] > 0), key=lambda p: (p[1], -p[2]))
    if not shown:
        return empty_figure("no measured files")
    best = _unbeaten(shown)
    figure = new_figure(3.4)
    axes = figure.subplots()
    if baseline is not None and math.isfinite(baseline):
        axes.axhline(baseline, color=QUIET, linewidth=1, linestyle="--", label="exact weights")
    axes.plot([p[1] for p in shown], [p[2] for p in shown], linestyle="", marker="o", markersize=4, color=PALE)
    axes.plot([p[1] for p in best], [p[2] for p in best], marker="o", markersize=5, color=MAIN, label="unbeaten files")
    axes.set_title("Score against bytes")
    axes.set_xlabel("bytes of the file")
    axes.set_ylabel("score")
    axes.xaxis.set_major_formatter(lambda value, _: count_text(value, "B"))
    axes.locator_params(axis="x", nbins=5)
    axes.margins(x=0.12, y=0.12)
    named = [point for point in shown if point[0]]
    for label, nbytes, score in named if len(named) <= _NAMED else []:
        axes.annotate(
            shortened(label),
            (nbytes, score),
            xytext=(0, -6),
            textcoords="offset points",
            fontsize=8.5,
            horizontalalignment="center",
            verticalalignment="top",
        )
    figure.legend(loc="outside lower center", ncols=2)
    return freeze_layout(figure)


def _unbeaten(ordered: Sequence[Point]) -> list[Point]:
    """Of points by rising bytes, those with a higher score than all smaller ones."""
    kept: list[Point] = []
    for point in ordered:
        if not kept or point[2] > kept[-1][2]:
            kept.append(point)
    return kept
