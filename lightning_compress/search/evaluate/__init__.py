"""Scores of a module under candidate weights, and confidence intervals of the difference between two scores."""

from lightning_compress.search.evaluate.bleu import bleu_score
from lightning_compress.search.evaluate.bootstrap import Drop, paired_drop
from lightning_compress.search.evaluate.evaluation import (
    Evaluate,
    Evaluator,
    SearchStoppedError,
    check_arguments,
    evaluating,
)
from lightning_compress.search.evaluate.score import Score, Statistics
from lightning_compress.search.evaluate.swapper import Swapper, swapping

__all__ = [
    "Drop",
    "Evaluate",
    "Evaluator",
    "Score",
    "SearchStoppedError",
    "Statistics",
    "Swapper",
    "bleu_score",
    "check_arguments",
    "evaluating",
    "paired_drop",
    "swapping",
]
