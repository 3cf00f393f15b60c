"""The calibrated family: a grid for each tensor, its step by sensitivity to the loss, with error feedback.

Matrices are rounded in the order of their use, and make up for the errors before them. All steps double when the
strength rises by 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

from torch import nn

from lightning_compress.archive import Archive
from lightning_compress.compression.pipeline import compress_together
from lightning_compress.plan import Plan, Rule
from lightning_compress.quantize import Grid, GridGuide, Half
from lightning_compress.search.families.family import PlanFamily
from lightning_compress.search.model_parts import parts_of
from lightning_compress.search.propagation import ErrorPropagation
from lightning_compress.search.sensitivity.bit_allocation import BitAllocation, allocate_bits
from lightning_compress.search.sensitivity.calibration import CalibrationData
from lightning_compress.search.sensitivity.fisher import estimate_fisher
from lightning_compress.weights import Weights

WEAKEST, STRONGEST = -7.0, 2.0
_ONE_DIMENSIONAL = -3.0  # octaves: biases and norms are a hundredth of the bytes, so their steps are finer


def calibrated_families(
    weights: Weights,
    module: nn.Module,
    calibration: CalibrationData,
    *,
    loaded: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Sequence[PlanFamily]:
    """The family whose steps follow the sensitivity of each tensor and row.

    Args:
        weights: the exact weights.
        module: which has them as parameters.
        calibration: batches with their loss, or the module's outputs.
        loaded: context manager that loads the weights, sets evaluation mode, and restores the module at its end.

    Raises:
        SearchError: a batch fails.
    """
    allocations = _allocations(weights, module, calibration, loaded)
    classes = {weight.name: weight.class_name.partition(".")[0] for weight in weights}
    one_dimensional = {weight.name for weight in weights if weight.tensor.squeeze().ndim < 2}

    def plan_at(strength: float, offsets: Mapping[str, float]) -> Plan:
        def octaves(name: str) -> float:
            return strength + offsets.get(classes[name], 0.0) + (_ONE_DIMENSIONAL if name in one_dimensional else 0.0)

        return calibrated_plan(allocations, {name: octaves(name) for name in allocations})

    parts = parts_of(weight for weight in weights if weight.name in allocations)
    propagation = ErrorPropagation(weights, module, calibration, loaded)
    guides = _guides(allocations)
    return (PlanFamily(weights, plan_at, WEAKEST, STRONGEST, parts, guidance=guides, propagation=propagation),)


def calibrated_archive(
    plan: Plan,
    weights: Weights,
    module: nn.Module,
    calibration: CalibrationData,
    *,
    loaded: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Archive:
    """The archive of a given plan, with row exponents, error feedback and corrections by calibration of these weights.

    Args:
        plan: made by :func:`calibrated_families`, for earlier weights of the same model.
        weights: and all others as for :func:`calibrated_families`.

    Raises:
        SearchError: a batch fails.
        PlanError: the plan does not fit these weights.
    """
    guides = _guides(_allocations(weights, module, calibration, loaded))
    propagation = ErrorPropagation(weights, module, calibration, loaded)
    return compress_together(weights, plan, guides, propagation.coded)


def _allocations(
    weights: Weights,
    module: nn.Module,
    calibration: CalibrationData,
    loaded: Callable[[], AbstractContextManager[None]],
) -> dict[str, BitAllocation]:
    with loaded():
        return allocate_bits(weights, estimate_fisher(weights, module, calibration))


def _guides(allocations: Mapping[str, BitAllocation]) -> dict[str, GridGuide]:
    return {name: allocation.guide for name, allocation in allocations.items()}


def calibrated_plan(allocations: Mapping[str, BitAllocation], octaves: Mapping[str, float]) -> Plan:
    """A grid for each tensor with a sensitivity, half precision for the others."""
    rules = (
        Rule(name, Grid(_four_digits(allocation.step * 2.0 ** octaves[name])), Half(rounding="nearest"), optional=True)
        for name, allocation in allocations.items()
    )
    return Plan(*rules, Rule("*", Half(rounding="nearest"), optional=True))


def _four_digits(step: float) -> float:
    """A step that is short in the plan; the difference has no effect."""
    return float(f"{step:.4g}")
