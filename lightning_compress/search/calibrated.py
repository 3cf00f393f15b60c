"""The calibrated family: grids by sensitivity, errors fed back, coarser with strength."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn

from lightning_compress.plan import Plan, Rule
from lightning_compress.quantize import Grid, Half, Raw
from lightning_compress.search.allocation import Allocation, allocate
from lightning_compress.search.calibration import Calibration
from lightning_compress.search.family import Family, PlanFamily
from lightning_compress.search.layout import EXACT, layout_of
from lightning_compress.search.sensitivity import measure_sensitivity
from lightning_compress.weights import Weights

WEAKEST, STRONGEST = -7.0, 2.0
_VECTORS = -3.0  # octaves: vectors are a hundredth of the bytes, and their grids so much finer


def calibrated_families(weights: Weights, module: nn.Module, calibration: Calibration) -> Sequence[Family]:
    """One family: every step by the sensitivity of its tensor and of its rows, one strength over all.

    Args:
        weights: the exact weights.
        module: a module with these weights loaded, whose gradients may be changed.
        calibration: batches and their loss.

    Raises:
        SearchError: a batch fails.
    """
    allocations = allocate(weights, measure_sensitivity(module, calibration))
    classes = {weight.name: weight.class_name.partition(".")[0] for weight in weights}
    vectors = {weight.name for weight in weights if weight.tensor.squeeze().ndim < 2}

    def plan_at(strength: float, offsets: Mapping[str, float]) -> Plan:
        def octaves(name: str) -> float:
            return strength + offsets.get(classes[name], 0.0) + (_VECTORS if name in vectors else 0.0)

        return calibrated_plan(allocations, {name: octaves(name) for name in allocations})

    guides = {name: allocation.guide for name, allocation in allocations.items()}
    parts = tuple(layout_of(weights).parts)
    return (PlanFamily(weights, plan_at, WEAKEST, STRONGEST, parts, guidance=guides),)


def calibrated_plan(allocations: Mapping[str, Allocation], octaves: Mapping[str, float]) -> Plan:
    """A rule for each tensor with a sensitivity; the others in half precision, statistics of norms exactly."""
    exact = (Rule(pattern, Raw(), optional=True) for pattern in EXACT)
    rules = (
        Rule(name, Grid(_short(allocation.step * 2.0 ** octaves[name])), Half(rounding="nearest"))
        for name, allocation in allocations.items()
    )
    return Plan(*exact, *rules, Rule("*", Half(rounding="nearest"), optional=True))


def _short(step: float) -> float:
    """Four digits: a plan should be readable, and finer differences are none."""
    return float(f"{step:.4g}")
