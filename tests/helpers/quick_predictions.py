"""Predictions of bytes by a formula, for tests around a search: compressing samples takes most of its time."""

from __future__ import annotations

import math

from lightning_compress import Grid, Plan, Rule
from lightning_compress.weights import Weight, Weights

_ENVELOPE = 1_000.0  # bytes of the manifest and header


def bytes_by_formula(weights: Weights, plan: Plan, guidance: object) -> dict[str, float]:
    """In place of ``predicted_bytes``: about the entropy of Gaussian weights on the grid of their rule, unguided."""
    rules = plan.assign(weights)
    bits = {weight.name: _bits(weight, rule) for weight, rule in zip(weights, rules, strict=True)}
    return {weight.name: weight.tensor.numel() * bits[weight.name] / 8 for weight in weights} | {"": _ENVELOPE}


def _bits(weight: Weight, rule: Rule | None) -> float:
    """Of each weight; those of half precision for a tensor without a grid."""
    for method in () if rule is None else rule.methods:
        if isinstance(method, Grid):
            deviation = 1.0 if method.relative else float(weight.tensor.double().std(correction=0))
            return math.log2(1.2 + 3 * deviation / method.step)
    return 16.0
