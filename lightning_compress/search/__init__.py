"""Search for a plan: the smallest file at an allowed drop in score, the best score in a size, and other sizes later."""

from lightning_compress.search.arguments import ASSURED
from lightning_compress.search.effort import EFFORTS
from lightning_compress.search.evaluate import (
    Drop,
    Evaluate,
    Evaluator,
    Score,
    SearchStoppedError,
    Swapper,
    bleu_score,
    evaluating,
    paired_drop,
    swapping,
)
from lightning_compress.search.families import (
    Family,
    Observer,
    PlanFamily,
    calibrated_families,
    input_guided_families,
    uniform_families,
)
from lightning_compress.search.record import Frontier, pareto_frontier, retarget, reuse
from lightning_compress.search.sensitivity import Calibration, CalibrationData, Distillation
from lightning_compress.search.sensitivity.layers import LayerSensitivities, Strength, layer_sensitivities
from lightning_compress.search.smallest_file import smallest

__all__ = [
    "ASSURED",
    "EFFORTS",
    "Calibration",
    "CalibrationData",
    "Distillation",
    "Drop",
    "Evaluate",
    "Evaluator",
    "Family",
    "Frontier",
    "LayerSensitivities",
    "Observer",
    "PlanFamily",
    "Score",
    "SearchStoppedError",
    "Strength",
    "Swapper",
    "bleu_score",
    "calibrated_families",
    "evaluating",
    "input_guided_families",
    "layer_sensitivities",
    "paired_drop",
    "pareto_frontier",
    "retarget",
    "reuse",
    "smallest",
    "swapping",
    "uniform_families",
]
