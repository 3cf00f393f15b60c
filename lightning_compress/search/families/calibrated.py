"""The calibrated family: grids by sensitivity, errors fed back, coarser with strength."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

from torch import nn

from lightning_compress.archive import Archive
from lightning_compress.plan import Plan, Rule
from lightning_compress.quantize import Grid, Half, Raw
from lightning_compress.search.families.family import Family, PlanFamily
from lightning_compress.search.families.recovery import Recovery
from lightning_compress.search.model_parts import EXACT, parts_of
from lightning_compress.search.sensitivity.bit_allocation import BitAllocation, allocate_bits
from lightning_compress.search.sensitivity.calibration import Calibration, Distillation
from lightning_compress.search.sensitivity.fisher import estimate_fisher
from lightning_compress.weights import Weights, matches_any

_log = logging.getLogger(__name__)

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
        allocations = allocate_bits(weights, estimate_fisher(weights, module, calibration))
    classes = {weight.name: weight.class_name.partition(".")[0] for weight in weights}
    vectors = {weight.name for weight in weights if weight.tensor.squeeze().ndim < 2}

    def plan_at(strength: float, offsets: Mapping[str, float]) -> Plan:
        def octaves(name: str) -> float:
            return strength + offsets.get(classes[name], 0.0) + (_VECTORS if name in vectors else 0.0)

        return calibrated_plan(allocations, {name: octaves(name) for name in allocations})

    guides = {name: allocation.guide for name, allocation in allocations.items()}
    parts = parts_of(weight for weight in weights if weight.name in allocations)
    rounded = PlanFamily(weights, plan_at, WEAKEST, STRONGEST, parts, guidance=guides)
    recover = _recovery(weights, module, calibration, recovery, loaded)
    return (rounded,) if recover is None else (rounded, replace(rounded, recover=recover))


def guided_archive(
    plan: Plan,
    weights: Weights,
    module: nn.Module,
    calibration: Calibration,
    recovery: int = 0,
    *,
    loaded: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Archive:
    """The archive of a plan that is known, guided by what calibration measures of these weights.

    Args:
        plan: as :func:`calibrated_families` made it for earlier weights.
        weights: and the rest as there.

    Raises:
        SearchError: a batch fails.
        PlanError: the plan does not fit these weights.
    """
    with loaded():
        allocations = allocate_bits(weights, estimate_fisher(weights, module, calibration))
    guides = {name: allocation.guide for name, allocation in allocations.items()}
    recover = _recovery(weights, module, calibration, recovery, loaded)
    return PlanFamily(weights, lambda *_: plan, WEAKEST, STRONGEST, guidance=guides, recover=recover).archive(0.0)


def _recovery(
    weights: Weights,
    module: nn.Module,
    calibration: Calibration,
    batches: int,
    loaded: Callable[[], AbstractContextManager[None]],
) -> Recovery | None:
    """None where no recovery is wished, or calibration does not tell the module's answers."""
    if not batches:
        return None
    if not isinstance(calibration, Distillation):
        _log.warning(
            "recovery is skipped, since calibration is a %s without outputs(module, batch): give it that method, "
            "which returns the scores before the softmax, for a smaller file; effort='quick' has no recovery",
            type(calibration).__name__,
        )
        return None
    return Recovery(weights, module, calibration, batches, loaded)


def calibrated_plan(allocations: Mapping[str, BitAllocation], octaves: Mapping[str, float]) -> Plan:
    """A rule for each tensor with a sensitivity; the others in half precision, statistics of norms exactly."""
    exact = (Rule(pattern, Raw(), optional=True) for pattern in EXACT)
    rules = (
        Rule(name, Grid(_short(allocation.step * 2.0 ** octaves[name])), Half(rounding="nearest"), optional=True)
        for name, allocation in allocations.items()
        if not matches_any(EXACT, name)
    )
    return Plan(*exact, *rules, Rule("*", Half(rounding="nearest"), optional=True))


def _short(step: float) -> float:
    """Four digits: a plan should be readable, and finer differences are none."""
    return float(f"{step:.4g}")
