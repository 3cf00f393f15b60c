"""Sensitivity of the outputs to each weight: calibration data, Fisher information, and bit allocation from it."""

from lightning_compress.search.sensitivity.bit_allocation import DAMPING, BitAllocation, allocate_bits
from lightning_compress.search.sensitivity.calibration import (
    Calibration,
    CalibrationData,
    Distillation,
    batches_of,
    check_calibration,
)
from lightning_compress.search.sensitivity.fisher import FisherStatistics, estimate_fisher, stored_gradients
from lightning_compress.search.sensitivity.row_steps import rounded_exponents

__all__ = [
    "DAMPING",
    "BitAllocation",
    "Calibration",
    "CalibrationData",
    "Distillation",
    "FisherStatistics",
    "allocate_bits",
    "batches_of",
    "check_calibration",
    "estimate_fisher",
    "rounded_exponents",
    "stored_gradients",
]
