"""The paper's figures that compare several models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import nan
from typing import TYPE_CHECKING

from lightning_compress.charts import heat_map
from recipes.paper.figures.curves import curves
from recipes.paper.figures.single_model import (
    BITS,
    CHANGE,
    COVERAGE,
    FLOOR,
    PRUNED,
    RATIO,
    WIDEST,
    coverage_points,
    rate_points,
)
from recipes.paper.results.bleu_series import bleu_curves
from recipes.paper.results.class_order import in_model_order
from recipes.paper.results.model_results import Results
from recipes.paper.results.reference_values import BLIND, UNIFORM

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def pruning(models: Sequence[Results], *, scheme: str) -> Figure | None:
    """Figure 4 for one scheme: change of BLEU against the share of pruned weights, a curve a model."""
    groups = {model.name: [row for row in model.pruning if row.scheme == scheme] for model in models}
    groups = {name: rows for name, rows in groups.items() if rows}
    if not groups:
        return None
    points, bands = bleu_curves(groups, lambda row: 100 * row.share, 0.0)
    return curves(points, PRUNED, CHANGE, f"Pruning, {scheme}", baseline=0.0, intervals=bands, floor=FLOOR)


def tolerances(models: Sequence[Results]) -> Figure | None:
    """Figure 5: largest share of each class alone that keeps BLEU; a dash where none does or there is no such class."""
    shares = {
        model.name: {row.class_name: row.share for row in model.tolerances} for model in models if model.tolerances
    }
    if not shares:
        return None
    classes = in_model_order(name for known in shares.values() for name in known)
    cells = [[_percent(known.get(name)) for known in shares.values()] for name in classes]
    return heat_map(classes, list(shares), cells, "Each class alone", "largest share that keeps BLEU (%)")


def _percent(share: float | None) -> float:
    return nan if share is None else 100 * share


def coverages(models: Sequence[Results]) -> Figure | None:
    """Figure 7: widest interval that keeps BLEU, a curve a model."""
    points = {model.name: coverage_points(model) for model in models if model.coverages}
    if not points:
        return None
    return curves(points, BITS, COVERAGE, WIDEST, whole=[row.bits for model in models for row in model.coverages])


def rates(models: Sequence[Results]) -> Figure | None:
    """Figure 8: ratio against bits, of the files and by equation 2, a pair of curves a model."""
    shown = {model.name: rate_points(model) for model in models if model.rates}
    if not shown:
        return None
    formulas = {f"{name}, equation 2": name for name in shown}
    series = {name: pair[0] for name, pair in shown.items()}
    series |= {name: shown[owner][1] for name, owner in formulas.items()}
    bits = [row.bits for model in models for row in model.rates]
    return curves(series, BITS, RATIO, "Rate at the widest interval that keeps BLEU", dashed=formulas, whole=bits)


COMPARISONS: dict[str, Callable[[Sequence[Results]], Figure | None]] = {
    "fig4-class-blind": partial(pruning, scheme=BLIND),
    "fig4-class-uniform": partial(pruning, scheme=UNIFORM),
    "fig5": tolerances,
    "fig7": coverages,
    "fig8": rates,
}
