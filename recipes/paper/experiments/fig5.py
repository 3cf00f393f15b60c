"""Figure 5: the largest share of each class that can be pruned alone with BLEU kept; then all classes at once."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from lightning_compress import Plan, Prune, Rule
from lightning_compress.plan import did_you_mean
from recipes.errors import ExperimentError
from recipes.paper.experiments.experiment import COMPARISON_COLUMNS, Experiment, Part, Row, comparison_cells, percent
from recipes.paper.measurement.bisection import bisect_largest
from recipes.paper.measurement.context import ExperimentContext
from recipes.paper.measurement.round_trip import LOSSLESS

SHARES = tuple(k / 50 for k in range(1, 51))  # 2 … 100 %
TOGETHER = "all together"


def parts(context: ExperimentContext) -> list[Part]:
    """One for each class.

    Raises:
        ExperimentError: the model has no such class.
    """
    known = context.classes
    for name in context.settings.classes:
        if name not in known:
            raise ExperimentError(
                f"the model has no class {name!r}{did_you_mean(name, known)}: its classes are {', '.join(known)}"
            )
    return [partial(_alone, name=name) for name in context.settings.classes or known]


def plan_of(shares: Mapping[str, float]) -> Plan:
    """Each class pruned at its share, ranked within itself; all others exact."""
    rules = (Rule(name, Prune(share, "class-blind"), by="class") for name, share in shares.items() if share)
    return Plan(*rules) if any(shares.values()) else LOSSLESS


def _alone(context: ExperimentContext, *, name: str) -> list[Row]:
    def keeps(share: float) -> bool:
        what = f"{name}, {percent(share)} pruned"
        return context.compare(context.measure(plan_of({name: share}), what)).keeps

    found = bisect_largest(SHARES, keeps)
    return [_row(context, name, {name: found.setting or 0.0}, found.evaluations)]


def _together(context: ExperimentContext, rows: list[Row]) -> list[Row]:
    shares = {str(row["class"]): float(row["share"] or 0.0) for row in rows}
    return [*rows, _row(context, TOGETHER, shares, 1)]


def _row(context: ExperimentContext, name: str, shares: Mapping[str, float], points: int) -> Row:
    """The row of a plan; of several classes, ``share`` is that of all their weights."""
    measured = context.measure(plan_of(shares), f"{name}, at its largest share")
    weights = dict.fromkeys(shares, 0)
    for weight in context.weights:
        if weight.class_name in weights:
            weights[weight.class_name] += weight.tensor.numel()
    share = sum(shares[name] * weights[name] for name in shares) / sum(weights.values())
    alone = shares.get(name, share)
    return {
        "class": name,
        "share": alone,
        **comparison_cells(context, measured),
        "bytes": measured.bytes,
        "points": points,
    }


FIG5 = Experiment("fig5", ("class", "share", *COMPARISON_COLUMNS, "bytes", "points"), parts, _together)
