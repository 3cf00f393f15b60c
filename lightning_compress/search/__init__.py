"""Search for a plan: the smallest file at an allowed drop in score, the best score in a size, and other sizes later."""

from lightning_compress.search.evaluate import (
    Drop,
    Evaluate,
    Evaluator,
    Score,
    Swapper,
    bleu_score,
    evaluating,
    paired_drop,
    swapping,
)
from lightning_compress.search.families import Family, PlanFamily, uniform_families
from lightning_compress.search.optimize import smallest
from lightning_compress.search.record import Frontier, retarget, reuse
from lightning_compress.search.sensitivity import Calibration
from lightning_compress.search.sensitivity.layers import LayerSensitivities, Strength, layer_sensitivities

__all__ = [
    "Calibration",
    "Drop",
    "Evaluate",
    "Evaluator",
    "Family",
    "Frontier",
    "LayerSensitivities",
    "PlanFamily",
    "Score",
    "Strength",
    "Swapper",
    "bleu_score",
    "evaluating",
    "layer_sensitivities",
    "paired_drop",
    "retarget",
    "reuse",
    "smallest",
    "swapping",
    "uniform_families",
]
