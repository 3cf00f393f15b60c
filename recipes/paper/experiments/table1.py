"""Table 1 and figure 4: BLEU against the share of weights that are pruned, by scheme."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

from lightning_compress import Plan, Prune
from lightning_compress.weights import Weights, smallest_magnitudes, standard_deviation
from recipes.paper.experiments.experiment import (
    COMPARISON_COLUMNS,
    Experiment,
    Part,
    Row,
    comparison_cells,
    percent,
    uniform_plan,
)
from recipes.paper.measurement.context import ExperimentContext
from recipes.paper.measurement.round_trip import LOSSLESS

SCHEMES = ("class-blind", "class-uniform", "class-distribution")


def parts(context: ExperimentContext) -> list[Part]:
    """One for each scheme and share."""
    shares = sorted(context.settings.shares)
    lambdas = lambdas_of(context.weights, shares)
    return [
        partial(_point, scheme=scheme, share=share, amount=lambdas[share] if scheme == SCHEMES[2] else share)
        for scheme in SCHEMES
        for share in shares
    ]


def lambdas_of(weights: Weights, shares: Sequence[float]) -> dict[float, float]:
    """The λ that prunes each share of the weights when every class loses its |w| < λ σ (See et al. 2016, section 3.1).

    Args:
        weights: of a model, all of them floating-point.
        shares: fractions from 0 to below 1.
    """
    deviations = {}
    for name in dict.fromkeys(weight.class_name for weight in weights):
        deviations[name] = standard_deviation([weight.tensor for weight in weights if weight.class_name == name])
    scaled = [weight.tensor / (deviations[weight.class_name] or 1.0) for weight in weights]
    count = sum(tensor.numel() for tensor in scaled)
    # A weight equal to the threshold is kept, so the threshold is the magnitude of the next weight.
    cuts = smallest_magnitudes(scaled, [math.floor(share * count) + 1 for share in shares])
    return {share: cut.magnitude for share, cut in zip(shares, cuts, strict=True)}


def _plan(scheme: str, share: float, amount: float) -> Plan:
    return uniform_plan(Prune(amount, scheme)) if share else LOSSLESS  # type: ignore[arg-type]


def _point(context: ExperimentContext, *, scheme: str, share: float, amount: float) -> list[Row]:
    measured = context.measure(_plan(scheme, share, amount), f"{scheme}, {percent(share)} pruned")
    sizes: Row = {"bytes": measured.bytes, "ratio": measured.ratio, "zeros": measured.zeros}
    return [{"scheme": scheme, "share": share, **comparison_cells(context, measured), **sizes}]


TABLE1 = Experiment("table1", ("scheme", "share", *COMPARISON_COLUMNS, "bytes", "ratio", "zeros"), parts)
