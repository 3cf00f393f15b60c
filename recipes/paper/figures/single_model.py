"""The paper's figures for the results of one model."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import nan
from typing import TYPE_CHECKING

import numpy as np

from lightning_compress.charts import Histogram, weight_histograms
from recipes.paper.figures.class_bars import class_bars
from recipes.paper.figures.curves import curves
from recipes.paper.results.bleu_series import bleu_curves, grouped
from recipes.paper.results.model_results import Results
from recipes.paper.results.rows import Bin, Pruned

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BEFORE = "before"
BLEU, CHANGE = "BLEU", "change of BLEU"
PRUNED, BITS = "pruned weights (%)", "bits per index"
COVERAGE, RATIO = "weights inside the interval (%)", "compression ratio"
WIDEST = "Widest interval that keeps BLEU"
FLOOR = -6.0  # lowest change of BLEU shown; below it the model is unusable


def figure1(model: Results) -> Figure | None:
    """Weights by value, before and after each kind of pruning."""
    bins = grouped(model.histogram, lambda row: row.state)
    after = {state: _histogram(rows) for state, rows in bins.items() if state != BEFORE}
    if not after:
        return None
    before = _histogram(bins[BEFORE]) if BEFORE in bins else None
    return weight_histograms({} if before is None else dict.fromkeys(after, before), after)


def _histogram(bins: Iterable[Bin]) -> Histogram:
    ordered = sorted(bins, key=lambda row: row.left)
    edges = np.array([*(row.left for row in ordered), ordered[-1].right], np.float64)
    return Histogram(edges, np.array([row.weights for row in ordered], np.int64))


def figure4(model: Results) -> Figure | None:
    """BLEU against the share of pruned weights, a curve a scheme."""
    if not model.pruning:
        return None
    exact = model.baseline.bleu
    points, bands = bleu_curves(grouped(model.pruning, _scheme), _pruned, exact)
    return curves(points, PRUNED, BLEU, f"{model.name}: pruning", baseline=exact, intervals=bands)


def figure4_paper(model: Results) -> Figure | None:
    """Change of BLEU against the share of pruned weights, beside the paper's model: their texts are not the same."""
    points, bands = bleu_curves(grouped(model.pruning, _scheme), _pruned, 0.0)
    paper = model.paper
    theirs = {} if paper is None else {scheme: paper.pruning_changes(scheme) for scheme in points}
    beside = {f"{scheme}, paper": scheme for scheme, changes in theirs.items() if changes}
    if not beside:
        return None
    papers = {name: [(100 * share, y) for share, y in theirs[scheme].items()] for name, scheme in beside.items()}
    title = f"{model.name}: pruning, beside the paper"
    return curves(points | papers, PRUNED, CHANGE, title, baseline=0.0, intervals=bands, dashed=beside, floor=FLOOR)


def _scheme(row: Pruned) -> str:
    return row.scheme


def _pruned(row: Pruned) -> float:
    return 100 * row.share


def figure5(model: Results) -> Figure | None:
    """BisectionResult share of each class alone that keeps BLEU."""
    return class_bars(model.tolerances, f"{model.name}: each class alone") if model.tolerances else None


def figure6(model: Results) -> Figure | None:
    """BLEU against bits, a curve for each value that an index is read back as."""
    if not model.restores:
        return None
    exact = model.baseline.bleu
    points, bands = bleu_curves(grouped(model.restores, lambda row: row.restore), lambda row: row.bits, exact)
    bits = [row.bits for row in model.restores]
    title = f"{model.name}: quantization"
    return curves(points, BITS, BLEU, title, baseline=exact, intervals=bands, whole=bits)


def figure7(model: Results) -> Figure | None:
    """Widest interval that keeps BLEU, against bits; the curve breaks where none does."""
    if not model.coverages:
        return None
    bits = [row.bits for row in model.coverages]
    return curves({model.name: coverage_points(model)}, BITS, COVERAGE, WIDEST, whole=bits)


def coverage_points(model: Results) -> list[tuple[float, float]]:
    """``(bits, coverage in percent)`` of figure 7, NaN where no interval keeps BLEU."""
    rows = sorted(model.coverages, key=lambda row: row.bits)
    return [(row.bits, nan if row.coverage is None else 100 * row.coverage) for row in rows]


def figure8(model: Results) -> Figure | None:
    """Ratio against bits at that interval: that of the file, and the paper's equation 2."""
    if not model.rates:
        return None
    on_disk, formula = rate_points(model)
    series = {"file on disk": on_disk, "the paper's equation 2": formula}
    beside = {"the paper's equation 2": "file on disk"}
    return curves(series, BITS, RATIO, f"{model.name}: rate", dashed=beside, whole=[row.bits for row in model.rates])


def rate_points(model: Results) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """``(bits, ratio)`` of figure 8: of the file, and by equation 2; NaN where there is none."""
    rows = sorted(model.rates, key=lambda row: row.bits)
    on_disk = [(float(row.bits), nan if row.ratio is None else row.ratio) for row in rows]
    return on_disk, [(float(row.bits), nan if row.formula is None else row.formula) for row in rows]


PICTURES: dict[str, Callable[[Results], Figure | None]] = {
    "fig1": figure1,
    "fig4": figure4,
    "fig4-paper": figure4_paper,
    "fig5": figure5,
    "fig6": figure6,
    "fig7": figure7,
    "fig8": figure8,
}
