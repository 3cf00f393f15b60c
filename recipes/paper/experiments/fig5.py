"""Figure 5: the largest share of each class that can be pruned alone with BLEU kept; then all of these at once."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from lightning_compress import Plan, Prune, Rule
from lightning_compress.plan import did_you_mean
from recipes.errors import ExperimentError
from recipes.paper.bisection import largest
from recipes.paper.experiments.experiment import VERDICT, Experiment, Part, Row, percent, verdict_cells
from recipes.paper.files import EXACT
from recipes.paper.laboratory import Laboratory

SHARES = tuple(k / 50 for k in range(1, 51))  # 2 … 100 %
TOGETHER = "all together"


def parts(lab: Laboratory) -> list[Part]:
    """One for each class.

    Raises:
        ExperimentError: the model has no such class.
    """
    known = lab.classes
    for name in lab.settings.classes:
        if name not in known:
            raise ExperimentError(
                f"the model has no class {name!r}{did_you_mean(name, known)}: its classes are {', '.join(known)}"
            )
    return [partial(_alone, name=name) for name in lab.settings.classes or known]


def plan_of(shares: Mapping[str, float]) -> Plan:
    """Each class pruned at its share, ranked within itself; all others exact."""
    rules = (Rule(name, Prune(share, "class-blind"), by="class") for name, share in shares.items() if share)
    return Plan(*rules) if any(shares.values()) else EXACT


def _alone(lab: Laboratory, *, name: str) -> list[Row]:
    def keeps(share: float) -> bool:
        what = f"{name}, {percent(share)} pruned"
        return lab.judge(lab.measure(plan_of({name: share}), what)).keeps

    found = largest(SHARES, keeps)
    return [_row(lab, name, {name: found.setting or 0.0}, found.looks)]


def _together(lab: Laboratory, rows: list[Row]) -> list[Row]:
    shares = {str(row["class"]): float(row["share"] or 0.0) for row in rows}
    return [*rows, _row(lab, TOGETHER, shares, 1)]


def _row(lab: Laboratory, name: str, shares: Mapping[str, float], points: int) -> Row:
    """The row of a plan; of several classes, ``share`` is that of all their weights."""
    measured = lab.measure(plan_of(shares), f"{name}, at its largest share")
    weights = dict.fromkeys(shares, 0)
    for weight in lab.weights:
        if weight.class_name in weights:
            weights[weight.class_name] += weight.tensor.numel()
    share = sum(shares[name] * weights[name] for name in shares) / sum(weights.values())
    alone = shares.get(name, share)
    return {"class": name, "share": alone, **verdict_cells(lab, measured), "bytes": measured.bytes, "points": points}


FIG5 = Experiment("fig5", ("class", "share", *VERDICT, "bytes", "points"), parts, _together)
