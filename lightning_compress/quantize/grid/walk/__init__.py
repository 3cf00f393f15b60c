"""Walks over the points of a matrix, column by column: from grouped words to values, and back."""

from lightning_compress.quantize.grid.walk.points import (
    grouped_words,
    nearest_indices,
    quantized,
    restored_points,
    restored_values,
    scaled_points,
)

__all__ = [
    "grouped_words",
    "nearest_indices",
    "quantized",
    "restored_points",
    "restored_values",
    "scaled_points",
]
