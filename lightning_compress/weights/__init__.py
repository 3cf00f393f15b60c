"""What decoding needs of a trained model: classed, tie-free weights."""

from lightning_compress.weights.classes import classify
from lightning_compress.weights.magnitude import Cut, chunks, smallest, true_positions
from lightning_compress.weights.module import is_metric
from lightning_compress.weights.names import matches, matches_any, strip_wrappers
from lightning_compress.weights.spread import standard_deviation
from lightning_compress.weights.state import Weight, Weights, as_bytes
from lightning_compress.weights.threads import one_thread
from lightning_compress.weights.ties import Tie

__all__ = [
    "Cut",
    "Tie",
    "Weight",
    "Weights",
    "as_bytes",
    "chunks",
    "classify",
    "is_metric",
    "matches",
    "matches_any",
    "one_thread",
    "smallest",
    "standard_deviation",
    "strip_wrappers",
    "true_positions",
]
