"""Entropy-constrained uniform quantization, with a trellis, contexts and error feedback."""

from lightning_compress.quantize.grid.contexts import Classes
from lightning_compress.quantize.grid.grid import FittedGrid, Grid
from lightning_compress.quantize.grid.guide import GridGuide
from lightning_compress.quantize.grid.matrix import matrix_shape
from lightning_compress.quantize.grid.payload import GridPayload
from lightning_compress.quantize.grid.row_feedback import row_spread
from lightning_compress.quantize.grid.trellis import feedback_factor

__all__ = [
    "Classes",
    "FittedGrid",
    "Grid",
    "GridGuide",
    "GridPayload",
    "feedback_factor",
    "matrix_shape",
    "row_spread",
]
