"""Chart of score against bytes, with the Pareto frontier."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lightning_compress.charts.style import (
    LONGEST_TITLE,
    MAIN,
    PALE,
    QUIET,
    chart_style,
    count_text,
    drawable,
    empty_figure,
    freeze_layout,
    include_values,
    new_figure,
    shortened,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Point = tuple[str, float, float]
_MAX_LABELS = 12  # more labels would overlap
_LEAST_SPAN = 0.1  # of the largest score: the axis spans at least this, so that a small drop looks small


@chart_style()
def frontier(
    points: Sequence[Point],
    baseline: float | None = None,
    *,
    candidates: Sequence[tuple[float, float]] = (),
    title: str = "Score against bytes",
    measure: str = "score",
) -> Figure:
    """Score of each file against its bytes, with a line through the Pareto frontier.

    Args:
        points: ``(label, bytes, score)`` in any order; higher scores are better, and points whose score is not finite
            are left out. Labels may be empty, and are omitted if there are more than twelve.
        baseline: score of the exact weights, drawn as a dashed line.
        candidates: ``(bytes, score)`` of files that were measured and not kept, drawn pale.
        title: title of the chart.
        measure: name of the score.

    Raises:
        ChartError: matplotlib is not installed.
    """
    shown = _drawn(points)
    if not shown:
        return empty_figure("no measured files")
    best = _pareto_optimal(shown)
    pale = [*_drawn([("", *candidate) for candidate in candidates]), *shown]
    figure = new_figure(3.4)
    axes = figure.subplots()
    exact = [] if baseline is None or not math.isfinite(baseline) else [float(drawable(baseline))]
    for score in exact:
        axes.axhline(score, color=QUIET, linewidth=1, linestyle="--", label="exact weights")
    axes.plot([p[1] for p in pale], [p[2] for p in pale], linestyle="", marker="o", markersize=4, color=PALE)
    axes.plot([p[1] for p in best], [p[2] for p in best], marker="o", markersize=5, color=MAIN, label="unbeaten files")
    axes.set_title(shortened(title, LONGEST_TITLE))
    axes.set_xlabel("bytes of the file")
    axes.set_ylabel(shortened(measure))
    axes.xaxis.set_major_formatter(lambda value, _: count_text(value, "B"))
    axes.locator_params(axis="x", nbins=5)
    axes.margins(x=0.12, y=0.12)
    axes.set_xlim(left=0)
    scores = [*exact, *(score for _, _, score in pale)]
    missing = max(0.0, _LEAST_SPAN * max(map(abs, scores)) - (max(scores) - min(scores))) / 2
    include_values(axes, (min(scores) - missing, max(scores) + missing))
    named = [point for point in shown if point[0]]
    for label, nbytes, score in named if len(named) <= _MAX_LABELS else []:
        axes.annotate(
            shortened(label),
            (nbytes, score),
            xytext=(0, -6),
            textcoords="offset points",
            fontsize=9.5,
            horizontalalignment="center",
            verticalalignment="top",
        )
    figure.legend(loc="outside lower center", ncols=2)
    return freeze_layout(figure)


def _drawn(points: Sequence[Point]) -> list[Point]:
    """The points that can be drawn, in the order of their bytes."""
    finite = [(label, nbytes, float(drawable(score))) for label, nbytes, score in points if math.isfinite(score)]
    return sorted((p for p in finite if p[1] > 0), key=lambda p: (p[1], -p[2]))


def _pareto_optimal(ordered: Sequence[Point]) -> list[Point]:
    """The points with a higher score than all smaller files.

    Args:
        ordered: points in the order of their bytes.
    """
    kept: list[Point] = []
    for point in ordered:
        if not kept or point[2] > kept[-1][2]:
            kept.append(point)
    return kept
