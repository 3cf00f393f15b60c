"""The calibrated family: grids by sensitivity, errors fed back, coarser with strength."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

from torch import nn

from lightning_compress.plan import Plan, Rule
from lightning_compress.quantize import Grid, Half, Raw
from lightning_compress.search.allocation import Allocation, allocate
from lightning_compress.search.calibration import Calibration, Distillation
from lightning_compress.search.family import Family, PlanFamily
from lightning_compress.search.layout import EXACT
from lightning_compress.search.recovery import Recovery
from lightning_compress.search.sensitivity import measure_sensitivity
from lightning_compress.weights import Weights

WEAKEST, STRONGEST = -7.0, 2.0
_VECTORS = -3.0  # octaves: vectors are a hundredth of the bytes, and their grids so much finer


def calibrated_families(
    weights: Weights,
    module: nn.Module,
    calibration: Calibration,
    recovery: int = 0,
    *,
    loaded: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Sequence[Family]:
    """Every step by the sensitivity of its tensor and of its rows, one strength over all; then the same with recovery.

    Args:
        weights: the exact weights.
        module: the module that they are of.
        calibration: batches and their loss; for recovery also its outputs.
        recovery: batches that recovery trains on, 0 for none.
        loaded: opens a block in which the module has these weights and is in evaluation mode, and after which it is
            what it was.

    Raises:
        SearchError: a batch fails.
    """
    with loaded():
        allocations = allocate(weights, measure_sensitivity(module, calibration))
    classes = {weight.name: weight.class_name.partition(".")[0] for weight in weights}
    vectors = {weight.name for weight in weights if weight.tensor.squeeze().ndim < 2}

    def plan_at(strength: float, offsets: Mapping[str, float]) -> Plan:
        def octaves(name: str) -> float:
            return strength + offsets.get(classes[name], 0.0) + (_VECTORS if name in vectors else 0.0)

        return calibrated_plan(allocations, {name: octaves(name) for name in allocations})

    guides = {name: allocation.guide for name, allocation in allocations.items()}
    rounded = PlanFamily(weights, plan_at, WEAKEST, STRONGEST, guidance=guides)
    if not recovery or not isinstance(calibration, Distillation):
        return (rounded,)
    return rounded, replace(rounded, recover=Recovery(weights, module, calibration, recovery, loaded))


def calibrated_plan(allocations: Mapping[str, Allocation], octaves: Mapping[str, float]) -> Plan:
    """A rule for each tensor with a sensitivity; the others in half precision, statistics of norms exactly."""
    exact = (Rule(pattern, Raw(), optional=True) for pattern in EXACT)
    rules = (
        Rule(name, Grid(_short(allocation.step * 2.0 ** octaves[name])), Half(rounding="nearest"), optional=True)
        for name, allocation in allocations.items()
    )
    return Plan(*exact, *rules, Rule("*", Half(rounding="nearest"), optional=True))


def _short(step: float) -> float:
    """Four digits: a plan should be readable, and finer differences are none."""
    return float(f"{step:.4g}")
