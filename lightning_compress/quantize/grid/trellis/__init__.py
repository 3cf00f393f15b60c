"""Trellis-coded quantization: the states, the Viterbi search, rates of indices, and error feedback."""

from lightning_compress.quantize.grid.trellis.feedback import feedback_factor

__all__ = [
    "feedback_factor",
]
