"""How much answers react to each weight: calibration data, Fisher information, and the steps that follow from it."""

from lightning_compress.search.sensitivity.allocation import DAMPING, Allocation, allocate
from lightning_compress.search.sensitivity.calibration import Calibration, Distillation, batches_of, check_calibration
from lightning_compress.search.sensitivity.fisher import Sensitivity, measure_sensitivity, stored_gradients
from lightning_compress.search.sensitivity.row_steps import rounded_exponents

__all__ = [
    "DAMPING",
    "Allocation",
    "Calibration",
    "Distillation",
    "Sensitivity",
    "allocate",
    "batches_of",
    "check_calibration",
    "measure_sensitivity",
    "rounded_exponents",
    "stored_gradients",
]
