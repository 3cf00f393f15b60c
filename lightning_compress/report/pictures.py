"""The charts of a page, each with a name of its own."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from lightning_compress.charts import bytes_by_class, frontier, heat_map, lines, ranked_bars, weight_histograms
from lightning_compress.report.examine import Examined
from lightning_compress.report.inline import inline_svg
from lightning_compress.report.scores import Scores
from lightning_compress.report.sensitivity import Sensitivity
from lightning_compress.report.training import Training

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Pictures:
    """Draws the charts of one page."""

    _numbers: Iterable[int] = field(default_factory=count)

    def bytes_by_class(self, file: Examined) -> Markup:
        """Where the bytes of a file are."""
        return self._inline(bytes_by_class(file.report.by_class()), "Bytes of each class of weights")

    def histograms(self, file: Examined) -> Markup:
        """Weights by value, before where the exact ones are at hand, and after."""
        return self._inline(weight_histograms(file.before, file.after), "Histograms of the weights of each class")

    def frontier(self, file: Examined) -> Markup | None:
        """The files that the search measured; None without a search."""
        scores = Scores.of(file.manifest.metrics)
        if not scores.frontier.points:
            return None
        points: list[tuple[str, float, float]] = [("", nbytes, score) for _, nbytes, score in scores.frontier.points]
        if not math.isnan(scores.after):
            points.append(("this file", file.report.file_bytes, scores.after))
        baseline = None if math.isnan(scores.before) else scores.before
        return self._inline(frontier(points, baseline), "Score against bytes of the files that the search measured")

    def curves(self, training: Training) -> list[Markup]:
        """A chart for each group of curves of a training."""
        return [
            self._inline(
                lines(panel.curves, "step", "", panel.title, intervals=panel.intervals), f"{panel.title} against step"
            )
            for panel in training.panels
        ]

    def heat_map(self, found: Sensitivity) -> Markup:
        """What is lost with each class alone, at each strength."""
        title = f"Loss of {found.measure}, one class compressed"
        unit = f"{found.measure} lost" if found.higher_is_better else f"{found.measure} gained"
        return self._inline(heat_map(found.classes, found.strengths, found.losses, title, unit), title)

    def ranking(self, found: Sensitivity) -> Markup:
        """The classes by their mean loss."""
        ranking = found.ranking()
        title = "Most sensitive classes"
        return self._inline(
            ranked_bars(list(ranking), list(ranking.values()), None, title, "mean loss over strengths"), title
        )

    def largest_ratio(self, found: Sensitivity) -> Markup | None:
        """The classes by the pruning ratio they bear; None where it was not measured."""
        if not found.largest_ratio:
            return None
        title = f"Largest pruning ratio that keeps {found.measure}"
        names, values = list(found.largest_ratio), [100 * ratio for ratio in found.largest_ratio.values()]
        return self._inline(ranked_bars(names, values, None, title, "% of the weights"), title)

    def _inline(self, figure: Figure, described: str) -> Markup:
        return inline_svg(figure, f"c{next(iter(self._numbers))}", described)
