"""The charts of a page, as inline SVG."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from lightning_compress.charts import bytes_by_class, frontier, heat_map, lines, ranked_bars, weight_histograms
from lightning_compress.report.file_statistics import FileStatistics
from lightning_compress.report.records.sensitivity import SensitivityRecord
from lightning_compress.report.records.training import TrainingCurves
from lightning_compress.report.scores import Scores
from lightning_compress.report.svg import inline_svg
from lightning_compress.report.verdict import MeasuredFile

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class PageCharts:
    """Draws the charts of one page."""

    _indices: Iterable[int] = field(default_factory=count)

    def bytes_by_class(self, file: FileStatistics) -> Markup:
        """Bytes of a file by class."""
        return self._inline(bytes_by_class(file.report.by_class()), "Bytes of each class of weights")

    def histograms(self, file: FileStatistics) -> Markup:
        """Histograms of the weights after compression, and before it if the exact weights are available."""
        return self._inline(weight_histograms(file.before, file.after), "Histograms of the weights of each class")

    def frontier(self, file: FileStatistics) -> Markup | None:
        """Score against bytes of the files that the search measured; None without a search."""
        scores = Scores.of(file.manifest.metrics)
        if not scores.frontier.points:
            return None
        points: list[tuple[str, float, float]] = [("", nbytes, score) for _, nbytes, score in scores.frontier.points]
        if not math.isnan(scores.after):
            points.append(("this file", file.report.file_bytes, scores.after))
        baseline = None if math.isnan(scores.before) else scores.before
        figure = frontier(points, baseline, measure=scores.label)
        return self._inline(figure, "Score against bytes of the files that the search measured")

    def run(self, files: Sequence[MeasuredFile]) -> Markup | None:
        """Score against bytes of the files of a run; None if fewer than two files and candidates were measured."""
        measured = [each for each in files if each.is_measured]
        points = [(each.file.names[0], float(each.file.report.file_bytes), each.scores.after) for each in measured]
        tried = [(float(size), score) for each in measured for _, size, score in each.scores.frontier.points]
        if len(points) + len(tried) < 2 or not points:
            return None
        exact = measured[0].scores.before
        measure = measured[0].scores.label
        label = f"{measure} against bytes of the files of the run"
        figure = frontier(points, exact, candidates=tried, title="Every measured file of the run", measure=measure)
        return self._inline(figure, label)

    def curves(self, training: TrainingCurves) -> list[Markup]:
        """One chart for each panel of a training."""
        return [
            self._inline(
                lines(panel.curves, "step", "", panel.title, intervals=panel.intervals, include=panel.include),
                f"{panel.title} against step",
            )
            for panel in training.panels
        ]

    def heat_map(self, record: SensitivityRecord) -> Markup:
        """Drop with each class compressed alone, at each strength."""
        title = f"Loss of {record.measure}, one class compressed"
        unit = f"{record.measure} lost" if record.higher_is_better else f"{record.measure} gained"
        return self._inline(heat_map(record.classes, record.strengths, record.losses, title, unit), title)

    def largest_ratio(self, record: SensitivityRecord) -> Markup | None:
        """Largest pruning ratio of each class; None if pruning was not measured."""
        if not record.largest_ratio:
            return None
        title = f"Largest pruning ratio that keeps {record.measure}"
        names, values = list(record.largest_ratio), [100 * ratio for ratio in record.largest_ratio.values()]
        return self._inline(ranked_bars(names, values, None, title, "% of the weights"), title)

    def _inline(self, figure: Figure, label: str) -> Markup:
        return inline_svg(figure, f"c{next(iter(self._indices))}", label)
