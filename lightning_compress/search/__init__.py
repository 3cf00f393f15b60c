"""Searching: the smallest file at an allowed loss, the best score in a budget, other sizes of a found plan."""

from lightning_compress.search.bootstrap import Drop, paired_drop
from lightning_compress.search.calibration import Calibration
from lightning_compress.search.evaluation import Evaluate, Evaluator, evaluating
from lightning_compress.search.family import Family, PlanFamily
from lightning_compress.search.frontier import Frontier
from lightning_compress.search.keeping import kept_module
from lightning_compress.search.randomness import kept_randomness
from lightning_compress.search.retargeting import retarget
from lightning_compress.search.reuse import reuse
from lightning_compress.search.score import Score, bleu_score
from lightning_compress.search.smallest_file import smallest
from lightning_compress.search.swapping import Swapper, swapping
from lightning_compress.search.uniform import uniform_families

__all__ = [
    "Calibration",
    "Drop",
    "Evaluate",
    "Evaluator",
    "Family",
    "Frontier",
    "PlanFamily",
    "Score",
    "Swapper",
    "bleu_score",
    "evaluating",
    "kept_module",
    "kept_randomness",
    "paired_drop",
    "retarget",
    "reuse",
    "smallest",
    "swapping",
    "uniform_families",
]
